"""What the loss rises by when a channel goes and the others make up for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.arguments import check_int, check_number
from tfrcp.criteria.base import Criterion, finite_weights
from tfrcp.criteria.elimination import eliminate
from tfrcp.criteria.images import batches, read_images
from tfrcp.criteria.layer_statistics import RIDGE, LayerStatistics
from tfrcp.criteria.loss import loss_of, serialized
from tfrcp.criteria.progress import Progress
from tfrcp.data import read_examples
from tfrcp.graph.channels import ChannelGraph, ChannelGroup
from tfrcp.graph.program import Program
from tfrcp.graph.weights import slice_weights
from tfrcp.reconstruction.cached import Layer, layers_losing_inputs
from tfrcp.scoring import losses
from tfrcp.scoring.objectives import is_classifier


class OptimalBrainSurgeon(Criterion):
    r"""What the loss rises by when a channel is removed and the others make up for it.

    Hassibi and Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon" (NIPS
    1992), for channels: the channels of a group are removed one after another, the cheapest first
    (a sixteenth of those that are left at a time), and after each the kernels that read the others
    are fitted by least squares, as the reconstruction of a candidate does. The score of a channel j
    is what its removal costs at that time, summed over the layers that read it:

    \[\tfrac12 \sum_o s_o \, w_{jo}^T \left[(G^{-1})_{jj}\right]^{-1} w_{jo}\]

    \(w_{jo}\) being the weights from j to output o, with those that the fits have changed, and G
    the second moments of the layer's inputs that are left. \(s_o\) is the sum over output positions
    of the mean squared slope of the loss in output o: the diagonal of the Fisher information (Wang
    et al., "EigenDamage: Structured Pruning in the Kronecker-Factored Eigenbasis", ICML 2019, keep
    all of it). Scores are in units of the loss, but rankings of all groups by them were behind
    those by Taylor scores (docs/method.md): each tells what a group's channels lose alone, while
    others stay whole.

    Needs images, and the TensorFlow backend for the gradients. The loss of a classifier is the
    cross-entropy for labels that are drawn from its own predictions, as the Fisher information has
    it: no labels are needed. Any other model needs labels and the loss that it is compiled with.

    Args:
        images: Images to look at, the first ones; fewer where the data hold fewer.
        loss: A Keras loss or its name, which takes the labels. Defaults to the above.
        ridge: Float, not negative: added to the diagonal of G, relative to its mean.
        seed: Int, for the drawn labels.
        verbose: Whether to show progress.
    """

    ranks_groups = False

    def __init__(
        self,
        *,
        images: int = 256,
        loss: Any = None,
        ridge: float = RIDGE,
        seed: int = 0,
        verbose: bool = True,
    ) -> None:
        self.images = check_int("images", images, 2)
        check_number("ridge", ridge, "[0, inf)")
        keras.losses.get(loss)
        self.loss, self.ridge, self.seed, self.verbose = loss, ridge, seed, verbose

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            "images": self.images,
            "loss": serialized(self.loss),
            "ridge": self.ridge,
            "seed": self.seed,
            "verbose": self.verbose,
        }

    def __call__(
        self, model: keras.Model, graph: ChannelGraph, data: Any = None
    ) -> dict[str, np.ndarray]:
        """Scores every channel of every prunable group; `data` are images, perhaps labelled."""
        look, readers = self.look_at(model, graph, data)
        cases = {path: look.case(path) for path in {p for own in readers.values() for p, _ in own}}
        return {
            group.name: eliminate(
                [cases[path](places, self.ridge) for path, places in readers[group.name]],
                group.size,
            )
            for group in graph.prunable
        }

    def look_at(
        self, model: keras.Model, graph: ChannelGraph, data: Any
    ) -> tuple[LayerStatistics, dict[str, list[tuple[str, np.ndarray]]]]:
        """Runs the model on the images.

        Returns:
            Tuple of what was seen, and by group the layers that read it, with the places.

        Raises:
            ValueError: If the criterion does not apply to the model or the data.
        """
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "The criterion 'optimal_brain_surgeon' takes gradients with TensorFlow. Received: "
                f"the Keras backend {keras.backend.backend()!r}"
            )
        drawn = self.loss is None and is_classifier(model)
        x, _ = read_images(graph, data, images=self.images, labels=not drawn)
        if drawn:
            loss, targets = losses.crossentropy(model), None
        else:
            found = read_examples(data, count=self.images)
            loss, targets = loss_of(
                "optimal_brain_surgeon", model, self.loss, found.y, found.sample_weight
            )
        arrays = slice_weights(graph, finite_weights(graph, model), {})
        program = Program(graph)
        layers = {layer.call.path: layer for layer in layers_losing_inputs(program, arrays)}
        readers = {group.name: list(_readers(graph, group, layers)) for group in graph.prunable}
        for group in graph.prunable:
            if not readers[group.name]:
                raise ValueError(
                    "The criterion OptimalBrainSurgeon does not apply to group "
                    f"'{group.name}': no layer mixes its channels with others. Use another "
                    "criterion."
                )
        look = LayerStatistics(
            program, arrays, layers, x, loss, _draw(model, self.seed) if drawn else None
        )
        progress = Progress(
            "optimal_brain_surgeon", look.count, "images", look.count, verbose=self.verbose
        )
        for batch in batches((x, targets) if targets is not None else (x,), look.at_once):
            seen = look(*batch)
            progress.advance(seen, seen)
        return look, readers


def _draw(model: keras.Model, seed: int) -> Callable[[Any], np.ndarray]:
    """A function of outputs [n, classes] to labels [n] drawn from them."""
    random, logits = np.random.default_rng(seed), not losses.ends_in_softmax(model)

    def draw(outputs: Any) -> np.ndarray:
        shares = ops.convert_to_numpy(ops.softmax(outputs) if logits else outputs)
        sums = np.cumsum(shares, axis=1, dtype="float64")
        return (random.random((len(sums), 1)) * sums[:, -1:] > sums).sum(axis=1)

    return draw


def _readers(
    graph: ChannelGraph, group: ChannelGroup, layers: Mapping[str, Layer]
) -> Iterator[tuple[str, np.ndarray]]:
    """The layers that mix a group's channels: path, and int array [size, k] of their inputs."""
    for piece in group.slices:
        layer = layers.get(piece.layer)
        if layer is None or piece.role != "input" or piece.weight != layer.rule.kernel:
            continue
        inputs = layer.shape[1]
        channel_of = np.tile(piece.channel_of, inputs // len(piece.channel_of))
        order = np.argsort(channel_of, kind="stable")[(channel_of < 0).sum() :]
        yield piece.layer, order.reshape(group.size, -1)
