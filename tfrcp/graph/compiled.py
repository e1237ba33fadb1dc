"""Functions of many tensors, compiled once, whose calls cost little."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Compiled:
    """A function compiled for tensors of given shapes, when it is called for the first time.

    `tf.function` looks at every tensor of every call, which for the weights of a network takes
    several milliseconds; here they are handed on as they are. So it is on a CPU: where small whole
    numbers must lie with a GPU, `tf.function` is left to decide.

    Args:
        function: Function of structures of tensors to a structure of tensors.
        signature: A structure of `tf.TensorSpec` for each of its arguments.
    """

    def __init__(self, function: Callable[..., Any], signature: tuple[Any, ...]) -> None:
        self._function, self._signature = function, signature
        self._compiled: Any = None
        self._traced: Any = None

    def __call__(self, *arguments: Any) -> Any:
        """Calls it.

        Args:
            arguments: Tensors or arrays in the structures of the signature.
        """
        import tensorflow as tf

        self.trace()
        if self._traced is None:
            return self._compiled(*arguments)
        for argument, specs in zip(arguments, self._signature, strict=True):
            tf.nest.assert_same_structure(argument, specs, check_types=False)
        flat = [
            tf.convert_to_tensor(value, spec.dtype)
            for value, spec in zip(tf.nest.flatten(arguments), self._specs, strict=True)
        ]
        outputs = tf.raw_ops.StatefulPartitionedCall(
            args=[*flat, *self._traced.captured_inputs], Tout=self._types, f=self._traced
        )
        return tf.nest.pack_sequence_as(self._traced.structured_outputs, outputs)

    def trace(self) -> None:
        """Traces the function, if that was not done."""
        import tensorflow as tf

        if self._compiled is not None:
            return
        function = tf.function(self._function, input_signature=self._signature, autograph=False)
        traced = function.get_concrete_function()
        if not tf.config.list_logical_devices("GPU"):
            self._specs = tf.nest.flatten(self._signature)
            self._types = [output.dtype for output in traced.outputs]
            self._traced = traced
        self._compiled = function  # last: another thread may look
