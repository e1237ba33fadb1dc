"""What the loss rises by when a channel goes and the others make up for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.arguments import check_int, check_number
from tfrcp.criteria.base import Criterion, finite_weights
from tfrcp.criteria.elimination import Elimination, Fixed, Reader, eliminate
from tfrcp.criteria.images import batches, check_finite, read_images
from tfrcp.criteria.loss import gradients_of, loss_of, serialized
from tfrcp.criteria.progress import Progress
from tfrcp.data import read_examples
from tfrcp.graph.calls import Call
from tfrcp.graph.channels import ChannelGraph, ChannelGroup
from tfrcp.graph.program import Program
from tfrcp.graph.weights import slice_weights
from tfrcp.reconstruction.cached import Layer, layers_losing_inputs
from tfrcp.reconstruction.equations import moments
from tfrcp.reconstruction.layers import Rows, applied_to
from tfrcp.scoring import losses
from tfrcp.scoring.objectives import is_classifier

_AT_ONCE = 2**29  # bytes of the tensors of a batch that the gradients need
_WIDEST = 2**28  # bytes of second moments beyond which nothing is made up for
_MOST = 64  # images in a batch
_RIDGE = 1e-2


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
        ridge: float = _RIDGE,
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
    ) -> tuple[_Look, dict[str, list[tuple[str, np.ndarray]]]]:
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
        look = _Look(program, arrays, layers, x, loss, _draw(model, self.seed) if drawn else None)
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


class _Look:
    """Runs the network on batches: gathers what its layers read, and slopes of the loss.

    Attributes:
        count: Number of images.
        at_once: Number of images in a batch.
    """

    def __init__(
        self,
        program: Program,
        arrays: Any,
        layers: Mapping[str, Layer],
        images: Any,
        loss: Callable[[Any, Any], Any],
        draw: Callable[[Any], np.ndarray] | None,
    ) -> None:
        self._program, self._arrays, self._layers = program, arrays, layers
        self._loss, self._draw = loss, draw
        self._moments = {path: moments(_WIDEST, _RIDGE) for path in layers}
        self._squares: dict[str, Any] = defaultdict(float)
        self._rows: dict[Call, Rows] = {}
        flat = keras.tree.flatten(images)
        self.count = len(flat[0])
        size = 0

        def step(call: Call, entry: Any, args: tuple, kwargs: dict) -> Any:
            nonlocal size
            outputs = program.step(call, entry, args, kwargs)
            size += sum(ops.convert_to_numpy(x).nbytes for x in keras.tree.flatten(outputs))
            return outputs

        program.interpret(arrays, keras.tree.map_structure(lambda x: x[:1], images), step)
        self.at_once = int(np.clip(_AT_ONCE // max(1, size), 1, _MOST))

    def __call__(self, x: Any, targets: Any = None) -> int:
        """Looks at a batch; returns its number of images."""
        import tensorflow as tf

        taps: list[tuple[Call, Any]] = []
        with tf.GradientTape(watch_accessed_variables=False) as tape:

            def step(call: Call, entry: Any, args: tuple, kwargs: dict) -> Any:
                layer = self._layers.get(call.path)
                if layer is None:
                    return self._program.step(call, entry, args, kwargs)
                with tape.stop_recording():
                    self._read(call, layer, applied_to(call, args[0], entry))
                rule, dtype = layer.rule, call.operation.compute_dtype
                entry = {name: ops.cast(array, dtype) for name, array in entry.items()}
                linear = rule.linear(call, ops.cast(args[0], dtype), entry)
                tap = ops.zeros_like(linear)
                tape.watch(tap)
                taps.append((call, tap))
                return rule.finish(call, linear + tap, entry)

            outputs = self._program.interpret(self._arrays, x, step)
            flat = keras.tree.flatten(outputs)
            outputs = flat[0] if len(flat) == 1 else outputs
            if self._draw is not None:
                targets = self._draw(outputs)
            loss = ops.mean(self._loss(targets, outputs))
        check_finite(ops.convert_to_numpy(loss))
        size = len(keras.tree.flatten(x)[0])
        slopes = gradients_of(tape, loss, [tap for _, tap in taps])
        for (call, _), slope in zip(taps, slopes, strict=True):
            if slope is None:  # nothing that it makes reaches the loss
                continue
            axis = self._layers[call.path].rule.axis(call)
            slope = np.moveaxis(size * ops.convert_to_numpy(slope), axis, -1)
            slope = slope.reshape(size, -1, slope.shape[-1])
            squares = np.einsum("bnc,bnc->bc", slope, slope)
            self._squares[call.path] += squares.sum(axis=0, dtype="float64") / self.count
        return size

    def _read(self, call: Call, layer: Layer, x: np.ndarray) -> None:
        """Adds what a layer reads to its moments."""
        if call not in self._rows:
            self._rows[call] = Rows(
                call, x, *layer.shape, images=self.count, samples=100, seed=len(self._rows)
            )
        for _, chunk in self._rows[call].unfold(x):
            self._moments[call.path].add(chunk)

    def case(
        self, path: str, kind: Callable[..., Reader] = Elimination
    ) -> Callable[[np.ndarray, float], Reader]:
        """A layer as what channels are removed from, a function of their places and the ridge.

        Args:
            path: Of the layer.
            kind: What is made of kernel, second moments and weights, where these fit in memory.
        """
        layer = self._layers[path]
        matrix = layer.rule.matrix(layer.call, layer.kernel.astype("float64"))
        blocks, _, outputs = matrix.shape
        weights = np.broadcast_to(self._squares[path], blocks * outputs).reshape(blocks, outputs)
        found = self._moments.pop(path)
        equations = found.equations(layer.norm is not None or "bias" in self._arrays[path])
        gram = equations.gram
        if gram is None and 8 * blocks * matrix.shape[1] ** 2 <= _WIDEST:
            rows = equations.rows
            gram = rows.swapaxes(1, 2) @ rows / equations.count
        if gram is None:
            return lambda places, _: Fixed(matrix, equations.rows, weights, places)
        return lambda places, ridge: kind(matrix, gram, weights, places, ridge=ridge)
