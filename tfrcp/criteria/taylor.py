"""The slope of the loss in a gate on the channel."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.arguments import check_int
from tfrcp.criteria.base import CoupledCriterion, finite_weights
from tfrcp.criteria.compiling import compiled
from tfrcp.criteria.gates import Gate, gates_of
from tfrcp.criteria.images import check_finite, read_images
from tfrcp.criteria.loss import along, gradients_of, loss_of, serialized, slopes_in
from tfrcp.criteria.progress import Progress
from tfrcp.data import read_examples
from tfrcp.data.rows import count_rows, join, take
from tfrcp.graph.channels import ChannelGraph, ChannelGroup
from tfrcp.graph.program import Program
from tfrcp.graph.weights import slice_weights
from tfrcp.reconstruction.blocked_statistics import widths

_AT_ONCE = 2**29  # bytes of the tensors of all layers, which gradients need


class Taylor(CoupledCriterion):
    r"""The squared slope of the loss in a gate on the channel: \((\partial L/\partial g_j)^2\).

    Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019: to first order,
    the square of what the loss changes by when channel j is removed. The gate \(g_j = 1\) scales
    the output of every batch norm (or other normalization with a scale) that the channel passes, so
    that

    \[\partial L/\partial g_j = \gamma_j \, \partial L/\partial\gamma_j
      + \beta_j \, \partial L/\partial\beta_j.\]

    Behind a layer that makes the channel and is followed by no batch norm, it scales kernel and
    bias: \(\sum_k W_{jk} \, \partial L/\partial W_{jk} + b_j \, \partial L/\partial b_j\). (What
    is but a factor of the channel, as in squeeze-and-excitation blocks, has no gate.) Batch norms
    are in inference mode. L is the mean loss of a batch and the score the mean of the squares over
    the batches, so the batch size is part of the formula.

    Needs labelled images, and the TensorFlow backend for the gradients.

    Args:
        images: Images to look at, the first ones; fewer where the data hold fewer. They should be
            in random order.
        batch_size: The images are split into equal batches of at most as many.
        loss: A Keras loss or its name. Defaults to the model's own loss, with its structure and
            weights; of a classifier that is not compiled, or for integer labels, to the
            cross-entropy of logits or of a softmax.
        reduction: "gate": one gate for all the layers that a channel lives in, so that their slopes
            are added before they are squared. "mean", "sum", "max": a gate for each layer, their
            squares being reduced.
        normalize: Whether the squares of a layer are divided by their mean before they are reduced;
            of no effect with "gate".
        verbose: Whether to show progress.
    """

    place = "layer with weights that scale its channels"
    reductions = ("gate", *CoupledCriterion.reductions)

    def __init__(
        self,
        *,
        images: int = 1024,
        batch_size: int = 64,
        loss: Any = None,
        reduction: str = "gate",
        normalize: bool = True,
        verbose: bool = True,
    ) -> None:
        super().__init__(reduction=reduction, normalize=normalize)
        self.images = check_int("images", images, 2)
        self.batch_size = check_int("batch_size", batch_size, 1)
        self.loss, self.verbose = loss, verbose
        keras.losses.get(loss)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            "images": self.images,
            "batch_size": self.batch_size,
            "loss": serialized(self.loss),
            **super().get_config(),
            "verbose": self.verbose,
        }

    def __call__(
        self, model: keras.Model, graph: ChannelGraph, data: Any = None
    ) -> dict[str, np.ndarray]:
        """Scores every channel of every prunable group; `data` are labelled images."""
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "The criterion 'taylor' takes gradients with TensorFlow. Received: the Keras "
                f"backend {keras.backend.backend()!r}"
            )
        x, _ = read_images(graph, data, images=self.images, labels=True)
        found = read_examples(data, count=self.images)
        loss, targets = loss_of("taylor", model, self.loss, found.y, found.sample_weight)
        gates = gates_of(graph)
        for group in graph.prunable:
            if not gates[group.name]:
                raise self.refusal(group)
        slopes = _Slopes(model, graph, loss, [gate for each in gates.values() for gate in each])
        count = found.size
        progress = Progress("taylor", count, "images", count, verbose=self.verbose)
        slopes_of = []
        for part in np.array_split(np.arange(count), -(-count // self.batch_size)):
            batch = keras.tree.map_structure(lambda a, part=part: a[part], (x, targets))
            slopes_of.append(slopes(*batch))
            progress.advance(len(part), len(part))
        return {
            group.name: self._score(group, gates[group.name], slopes_of) for group in graph.prunable
        }

    def _score(
        self, group: ChannelGroup, gates: list[Gate], found: list[dict[Gate, np.ndarray]]
    ) -> np.ndarray:
        """The score of a group from the slopes [positions] of its gates in every batch."""
        slopes = [(gate.channel_of, np.stack([each[gate] for each in found])) for gate in gates]
        if self.reduction != "gate":
            return self.reduce(group, ((of, (slope**2).mean(axis=0)) for of, slope in slopes))
        total = np.zeros((len(found), group.size))
        for channel_of, slope in slopes:
            here = channel_of >= 0
            np.add.at(total, (slice(None), channel_of[here]), slope[:, here])
        return (total**2).mean(axis=0)


class _Slopes:
    """The slopes of a model's loss in gates."""

    def __init__(
        self, model: keras.Model, graph: ChannelGraph, loss: Callable[..., Any], gates: list[Gate]
    ) -> None:
        self._program, self._loss, self._gates = Program(graph), loss, gates
        arrays = slice_weights(graph, finite_weights(graph, model), {})
        for gate in gates:
            entry, (name, _) = arrays[gate.layer], gate.weights[0]
            if name not in entry:  # A batch norm that has no scale has one of 1.
                entry[name] = np.ones_like(entry["moving_mean"])
        self._arrays = keras.tree.map_structure(ops.convert_to_tensor, arrays)
        self._weights = {
            (gate.layer, name): self._arrays[gate.layer][name]
            for gate in gates
            for name, _ in gate.weights
        }

    def __call__(self, x: Any, y: Any) -> dict[Gate, np.ndarray]:
        """The slope at every position of every gate's layer, float64 arrays [positions]."""
        parts = self._parts(x)
        if len(parts) == 1:
            gradients = self._gradients(self._arrays, x, lambda outputs: self._loss_of(y, outputs))
        else:
            outputs, pulled = self._compiled
            arrays = self._arrays
            seen = join([outputs(arrays, take(x, part)) for part in parts])
            _, slopes = slopes_in(seen, lambda outputs: self._loss_of(y, outputs))
            found = [pulled(arrays, take((x, slopes), part)) for part in parts]
            gradients = [
                sum(np.asarray(part) for part in parts) for parts in zip(*found, strict=True)
            ]
        products = {
            key: np.asarray(weight, dtype="float64") * np.asarray(gradient)
            for (key, weight), gradient in zip(self._weights.items(), gradients, strict=True)
        }
        return {gate: check_finite(gate.slope(products)) for gate in self._gates}

    def _parts(self, x: Any) -> list[slice]:
        """Which images the gradients take at a time: as many as memory should hold."""
        count = count_rows(x)
        most = max(1, _AT_ONCE // max(1, sum(widths(self._program, self._arrays, x))))
        return [slice(start, start + most) for start in range(0, count, most)]

    @cached_property
    def _compiled(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """The outputs, and the gradients of what changes with the outputs by given slopes."""
        calls = self._program.graph.calls

        def pulled(arrays: Any, inputs: Any) -> list[Any]:
            x, slopes = inputs
            return self._gradients(arrays, x, lambda outputs: along(outputs, slopes))

        outputs = keras.tree.flatten(calls.outputs)
        return (
            compiled(self._outputs, self._arrays, calls.inputs),
            compiled(pulled, self._arrays, (calls.inputs, outputs)),
        )

    def _outputs(self, arrays: Any, x: Any) -> list[Any]:
        return keras.tree.flatten(self._program.run(arrays, x))

    def _loss_of(self, y: Any, outputs: list[Any]) -> Any:
        return ops.mean(self._loss(y, outputs[0] if len(outputs) == 1 else outputs))

    def _gradients(self, arrays: Any, x: Any, loss: Callable[[list[Any]], Any]) -> list[Any]:
        """The gradients of a function of the outputs in the weights."""
        import tensorflow as tf

        weights = [arrays[layer][name] for layer, name in self._weights]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            value = loss(self._outputs(arrays, x))
        return gradients_of(tape, value, weights)
