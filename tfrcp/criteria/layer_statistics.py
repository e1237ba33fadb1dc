"""What layers read and how steep the loss is in what they make: second-order statistics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.criteria.compiling import compiled
from tfrcp.criteria.elimination import Elimination, Fixed, Reader
from tfrcp.criteria.images import check_finite
from tfrcp.criteria.loss import along, gradients_of, slopes_in
from tfrcp.data.rows import take
from tfrcp.graph.calls import Call
from tfrcp.graph.program import Program
from tfrcp.reconstruction.cached import Layer
from tfrcp.reconstruction.equations import moments
from tfrcp.reconstruction.layers import Rows
from tfrcp.reconstruction.segments import as_numpy

_AT_ONCE = 2**29  # bytes of the tensors of a batch that the gradients need
_WIDEST = 2**28  # bytes of second moments beyond which nothing is made up for
_MOST = 64  # images in a batch
RIDGE = 1e-2  # of which second moments are to be precise enough
_FEW = 8  # batches for which nothing is compiled


class LayerStatistics:
    """Runs the network on batches: gathers what its layers read, and slopes of the loss.

    Args:
        program: The program.
        arrays: Its weights and sizes.
        layers: The layers that are looked at, by path.
        images: All images, structure of arrays like the model's inputs.
        loss: Function of targets and outputs.
        draw: Draws targets from outputs; `None` where they are given.

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
        self._program, self._layers = program, layers
        self._arrays = keras.tree.map_structure(ops.convert_to_tensor, arrays)
        self._loss, self._draw = loss, draw
        self._moments = {path: moments(_WIDEST, RIDGE) for path in layers}
        self._squares: dict[str, Any] = defaultdict(float)
        self._rows: dict[Call, Rows] = {}
        self._tapped: list[str] = []
        flat = keras.tree.flatten(images)
        self.count = len(flat[0])
        size = 0

        def step(call: Call, entry: Any, args: tuple, kwargs: dict) -> Any:
            nonlocal size
            if (layer := layers.get(call.path)) is not None:
                self._read(call, layer, args[0], entry)  # which chooses the positions
            outputs = program.step(call, entry, args, kwargs)
            size += sum(ops.convert_to_numpy(x).nbytes for x in keras.tree.flatten(outputs))
            return outputs

        program.interpret(self._arrays, take(images, slice(1)), step)
        self.at_once = int(np.clip(_AT_ONCE // max(1, size), 1, _MOST))

    def __call__(self, x: Any, targets: Any = None) -> int:
        """Looks at a batch; returns its number of images."""
        size = len(keras.tree.flatten(x)[0])

        def loss(outputs: list[Any]) -> Any:
            outputs = outputs[0] if len(outputs) == 1 else outputs
            value = ops.mean(self._loss(self._draw(outputs) if self._draw else targets, outputs))
            check_finite(ops.convert_to_numpy(value))
            return value

        if self.count <= _FEW * self.at_once:
            seen, squares = self._seen(self._arrays, x, loss)
        else:
            outputs, pulled = self._compiled
            _, slopes = slopes_in(outputs(self._arrays, x), loss)
            seen, squares = pulled(self._arrays, (x, slopes))
        for call, rows in zip(self._rows, seen, strict=True):
            self._moments[call.path].add(self._rows[call].laid_out(as_numpy(rows)))
        for path, square in zip(self._tapped, squares, strict=True):
            total = as_numpy(square).sum(axis=0, dtype="float64")
            self._squares[path] += size**2 * total / self.count
        return size

    @cached_property
    def _compiled(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """The outputs, and what is seen where they have given slopes."""
        calls = self._program.graph.calls

        def outputs(arrays: Any, x: Any) -> list[Any]:
            return keras.tree.flatten(self._program.run(arrays, x))

        def pulled(arrays: Any, inputs: Any) -> tuple[list[Any], list[Any]]:
            x, slopes = inputs
            return self._seen(arrays, x, lambda outputs: along(outputs, slopes))

        values = calls.inputs, keras.tree.flatten(calls.outputs)
        return (
            compiled(outputs, self._arrays, calls.inputs),
            compiled(pulled, self._arrays, values),
        )

    def _seen(
        self, arrays: Any, x: Any, loss: Callable[[list[Any]], Any]
    ) -> tuple[list[Any], list[Any]]:
        """What the layers read, and the squared slopes of a loss [images, channels] in theirs."""
        import tensorflow as tf

        taps: list[tuple[Call, Any]] = []
        read: dict[Call, Any] = {}
        with tf.GradientTape(watch_accessed_variables=False) as tape:

            def step(call: Call, entry: Any, args: tuple, kwargs: dict) -> Any:
                layer = self._layers.get(call.path)
                if layer is None:
                    return self._program.step(call, entry, args, kwargs)
                rule, dtype = layer.rule, call.operation.compute_dtype
                with tape.stop_recording():
                    read[call] = self._read(call, layer, args[0], entry)
                entry = {name: ops.cast(array, dtype) for name, array in entry.items()}
                linear = rule.linear(call, ops.cast(args[0], dtype), entry)
                tap = ops.zeros_like(linear)
                tape.watch(tap)
                taps.append((call, tap))
                return rule.finish(call, linear + tap, entry)

            outputs = keras.tree.flatten(self._program.interpret(arrays, x, step))
            value = loss(outputs)
        slopes = gradients_of(tape, value, [tap for _, tap in taps])
        # One has no slope where nothing that it makes reaches the loss.
        pairs = [(call, s) for (call, _), s in zip(taps, slopes, strict=True) if s is not None]
        self._tapped = [call.path for call, _ in pairs]
        squares = []
        for call, slope in pairs:
            axis = self._layers[call.path].rule.axis(call) % len(slope.shape)
            rest = [i for i in range(1, len(slope.shape)) if i != axis]
            squares.append(ops.sum(ops.square(ops.cast(slope, "float32")), axis=rest))
        return [read[call] for call in self._rows], squares

    def _read(self, call: Call, layer: Layer, x: Any, entry: Any) -> Any:
        """What a layer reads at the positions that enter its moments."""
        x = layer.rule.mixed(call, ops.cast(x, "float32"), entry)
        if call not in self._rows:
            self._rows[call] = Rows(
                call, x, *layer.shape, images=self.count, samples=100, seed=len(self._rows)
            )
        return self._rows[call].seen(x)

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
