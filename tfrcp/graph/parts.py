"""Parts of a traced network, each compiled once for channel counts of any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfrcp.graph.calls import Value
from tfrcp.graph.compiled import Compiled
from tfrcp.graph.program import Program
from tfrcp.graph.weights import Weights, arrays_of

Tensors = dict[Value, Any]


class Parts:
    """Runs consecutive calls of a program on weights that it is handed.

    What a part becomes when it is compiled is kept, and serves the original network and all pruned
    ones. A part that cannot be compiled runs operation by operation.

    Args:
        program: The program.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._compiled: dict[Any, Callable[..., list[Any]] | None] = {}

    def arrays(self, start: int, stop: int, arrays: Weights) -> Mapping[str, Mapping[str, Any]]:
        """Tensors of the weights that a part needs, batch norms folded where both are in it.

        Args:
            start: Number of the first call.
            stop: Number of the call after the last one.
            arrays: Weights and sizes of the network.
        """
        calls = self._program.graph.calls.calls[start:stop]
        names = dict.fromkeys(name for call in calls for name in (call.path, call.key))
        own = self._program.fold({name: arrays[name] for name in names if name in arrays})
        return keras.tree.map_structure(keras.ops.convert_to_tensor, own)

    def __call__(
        self, start: int, stop: int, arrays: Mapping[str, Mapping[str, Any]], tensors: Tensors
    ) -> Tensors:
        """Runs a part.

        Args:
            start: Number of the first call.
            stop: Number of the call after the last one.
            arrays: What `arrays` returns.
            tensors: What there is before it.

        Returns:
            What later calls read.
        """
        if keras.backend.backend() != "tensorflow":
            return self._run(start, stop, arrays, tensors)
        names = tuple((path, *entry) for path, entry in arrays.items())
        key = (start, stop, tuple(tensors), names)
        values = tuple(tensors)
        if key not in self._compiled:
            self._compiled[key] = self._compile(start, stop, values, arrays)
        run = self._compiled[key]
        if run is not None:
            try:
                found = run(arrays, list(tensors.values()))
                return dict(zip(self._left(start, stop, values), found, strict=True))
            except Exception:  # whatever a layer does that cannot be compiled
                self._compiled[key] = None
        return self._run(start, stop, arrays, tensors)

    def _run(self, start: int, stop: int, arrays: Any, tensors: Tensors) -> Tensors:
        program, tensors = self._program, dict(tensors)
        for index in range(start, stop):
            program.advance(
                index,
                tensors,
                lambda call, args, kwargs: program.step(
                    call, arrays_of(call, arrays), args, kwargs
                ),
            )
        return tensors

    def _left(self, start: int, stop: int, values: tuple[Value, ...]) -> list[Value]:
        """What is there after a part, in the order in which a run leaves it."""
        left: Tensors = dict.fromkeys(values)
        for index in range(start, stop):
            self._program.advance(index, left, lambda call, args, kwargs: call.outputs)
        return list(left)

    def _compile(
        self, start: int, stop: int, values: tuple[Value, ...], arrays: Any
    ) -> Callable[..., list[Any]] | None:
        """The compiled part; `None` where a layer does what cannot be compiled."""

        def run(arrays: Any, tensors: list[Any]) -> list[Any]:
            left = self._run(start, stop, arrays, dict(zip(values, tensors, strict=True)))
            return list(left.values())

        signature = self._program.specs(arrays), [self._spec(value) for value in values]
        compiled = Compiled(run, signature)
        try:
            compiled.trace()
        except Exception:  # whatever a layer does
            return None
        return compiled

    def _spec(self, value: Value) -> Any:
        """What is known of a tensor in every pruned network."""
        import tensorflow as tf

        graph, shape = self._program.graph, list(value.shape)
        labels = graph.labels.get(value, np.zeros(0, int))
        if graph.counts(labels)[0].any():
            shape = [None if n > 1 else m for n, m in zip(labels.shape, shape, strict=True)]
        if value.batch is not None:
            shape[value.batch] = None
        return tf.TensorSpec(shape, value.dtype)
