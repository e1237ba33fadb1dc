"""The traced graph as a program: runs the model on any consistent set of sliced weights.

One program, compiled once with unknown channel sizes, serves every candidate of a search at a cost
proportional to the candidate's own FLOPs.
"""

from __future__ import annotations

import inspect
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from typing import Any

import keras
import numpy as np

from tfrcp.graph.batch_statistics import BatchStatistics, Cuts, joined
from tfrcp.graph.calls import Call, Value
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.compiled import Compiled
from tfrcp.graph.rules import BatchNormalizationRule, KernelRule, find_rule
from tfrcp.graph.weights import Weights, arrays_of


class Program:
    """Runs a traced model on weights that it is handed.

    Args:
        graph: The trace.
    """

    def __init__(self, graph: ChannelGraph) -> None:
        self.graph = graph
        self._calls = graph.calls.calls
        self._folds = self._foldable()
        last: dict[Value, int] = {}
        for index, call in enumerate(self._calls):
            last.update(dict.fromkeys(call.inputs, index))
        for value in keras.tree.flatten(graph.calls.outputs):
            last[value] = len(self._calls)
        self._drop: dict[int, list[Value]] = defaultdict(list)
        for value, index in last.items():
            self._drop[index].append(value)

    def run(self, arrays: Mapping[str, Mapping[str, Any]], inputs: Any) -> Any:
        """The model's outputs in inference mode.

        Args:
            arrays: What `slice_weights` or `fold` returns, as arrays or tensors.
            inputs: Structure of tensors like the model's inputs.

        Returns:
            Structure of tensors like the model's outputs.
        """
        return self.interpret(arrays, inputs, self.step)

    def run_on_batch_statistics(
        self,
        arrays: Mapping[str, Mapping[str, Any]],
        inputs: Any,
        without: Collection[Call] = (),
        cuts: Cuts | None = None,
    ) -> tuple[Any, dict[str, tuple[Any, Any]]]:
        """Runs with every batch norm normalizing by the statistics of these very inputs.

        Args:
            arrays: What `slice_weights` returns, as arrays or tensors.
            inputs: Structure of tensors like the model's inputs.
            without: Calls of batch norms that normalize by their moving statistics instead.
            cuts: How the images are cut into parts, for less memory in one piece; not at all by
                default.

        Returns:
            Tuple of the outputs and a dict that maps the path of every batch norm to the mean and
            the variance of its input, [channels] each. A layer that is called several times gets
            the statistics of all its calls together.
        """
        statistics = BatchStatistics(arrays, self._folds, self.step, without, cuts or Cuts())
        inputs = keras.tree.map_structure(statistics.cut, inputs)
        outputs = self.interpret(arrays, inputs, statistics.step)
        return keras.tree.map_structure(joined, outputs), statistics.found()

    @property
    def folds(self) -> Mapping[Call, Call]:
        """Maps every batch norm that alone reads what a layer with a kernel makes to that layer."""
        return self._folds

    def fold(self, arrays: Weights) -> Weights:
        """Folds every batch norm that follows a convolution or dense layer into its kernel.

        Args:
            arrays: What `slice_weights` returns, NumPy arrays, or that of some layers.

        Returns:
            Arrays for `run`; the same outputs up to rounding, at less cost.
        """
        arrays = dict(arrays)
        for norm, kernel in self._folds.items():
            if norm.path not in arrays or kernel.path not in arrays:
                continue
            statistics = {n: a.astype("float64") for n, a in arrays.pop(norm.path).items()}
            spread = 1 / np.sqrt(statistics["moving_variance"] + norm.operation.epsilon)
            scale = statistics.get("gamma", 1.0) * spread
            shift = statistics.get("beta", 0.0) - statistics["moving_mean"] * scale
            entry = arrays[kernel.path]
            rule = find_rule(kernel.operation)
            old = entry[rule.kernel]
            arrays[kernel.path] = {
                **entry,
                rule.kernel: rule.scaled(old, scale).astype(old.dtype),
                "bias": (entry.get("bias", 0.0) * scale + shift).astype(old.dtype),
            }
        return arrays

    def compile(self, method: Callable[..., Any], arrays: Weights) -> Callable[..., Any]:
        """Compiles `run` or `run_on_batch_statistics` once for channel counts of any size.

        Args:
            method: The bound method.
            arrays: An example of the arrays that the compiled function will take.

        Returns:
            A function of (arrays, inputs). Under a backend other than TensorFlow the method itself.
        """
        if keras.backend.backend() != "tensorflow":
            return method
        import tensorflow as tf

        inputs = keras.tree.map_structure(
            lambda value: tf.TensorSpec((None, *value.shape[1:]), value.dtype),
            self.graph.calls.inputs,
        )
        return Compiled(method, (self.specs(arrays), inputs))

    def specs(self, arrays: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """What TensorFlow is to know of arrays: open along the axes that can be sliced.

        Args:
            arrays: An example of what `run` takes.
        """
        import tensorflow as tf

        free = self._free_axes

        def spec(path: str, name: str, array: Any) -> tf.TensorSpec:
            open_axes = free.get((path, name), ())
            shape = [None if axis in open_axes else n for axis, n in enumerate(array.shape)]
            return tf.TensorSpec(shape, array.dtype)

        return {
            path: {name: spec(path, name, array) for name, array in entry.items()}
            for path, entry in arrays.items()
        }

    def pack(self, inputs: Any) -> Any:
        """Lays inputs into the structure of the model's inputs, as Keras does: [x] for x.

        Raises:
            ValueError: If they are not of the model's shapes.
        """
        expected = [v.shape[1:] for v in keras.tree.flatten(self.graph.calls.inputs)]
        tensors = keras.tree.flatten(inputs)
        shapes = [tuple(x.shape)[1:] for x in tensors]
        fits = [
            len(a) == len(b) and all(n in (None, m) for n, m in zip(a, b, strict=True))
            for a, b in zip(expected, shapes, strict=False)
        ]
        if len(shapes) != len(expected) or not all(fits):
            raise ValueError(
                f"Images must have the shapes {expected}, as the inputs of '{self.graph.name}'. "
                f"Received: {shapes}"
            )
        return keras.tree.pack_sequence_as(self.graph.calls.inputs, tensors)

    @cached_property
    def _free_axes(self) -> dict[tuple[str, str], set[int]]:
        """The axes along which a weight can be sliced, by layer path and weight name."""
        free: dict[tuple[str, str], set[int]] = defaultdict(set)
        for place in self.graph.places:
            if self.graph.counts(place.labels)[0].any():
                free[place.path, place.weight].add(place.axis)
        for norm, kernel in self._folds.items():
            if (norm.path, "moving_mean") in free:
                free[kernel.path, "bias"].add(0)
        return free

    def _foldable(self) -> dict[Call, Call]:
        """Maps every batch norm that can be folded to the call that it follows."""
        called = Counter(call.path for call in self._calls)
        read = Counter(value for call in self._calls for value in call.inputs)
        read.update(keras.tree.flatten(self.graph.calls.outputs))
        makers = {value: call for call in self._calls for value in call.outputs}
        labelled = {(place.path, place.weight) for place in self.graph.places}
        folds = {}
        for call in self._calls:
            maker = makers.get(call.inputs[0]) if call.inputs else None
            if (
                isinstance(find_rule(call.operation), BatchNormalizationRule)
                and (call.path, "moving_mean") in labelled
                and maker is not None
                and isinstance(find_rule(maker.operation), KernelRule)
                and any(maker.path == path for path, _ in labelled)
                and maker.operation.activation in (None, keras.activations.linear)
                and called[call.path] == called[maker.path] == read[call.inputs[0]] == 1
                and _same_axis(call, maker)
            ):
                folds[call] = maker
        return folds

    def step(self, call: Call, entry: Mapping[str, Any] | None, args: tuple, kwargs: dict) -> Any:
        """Runs one call on its arrays; one that has none runs on its own weights.

        Args:
            call: The call.
            entry: Its arrays, `None` if it has none.
            args: Positional arguments, tensors.
            kwargs: Keyword arguments.

        Returns:
            The call's outputs.
        """
        if entry is not None:
            return find_rule(call.operation).run(call, entry, args, kwargs)
        if call in self._folds:
            return args[0]
        if trains(call.operation):
            kwargs = {**kwargs, "training": False}
        return call.operation(*args, **kwargs)

    def interpret(self, arrays: Mapping[str, Any], inputs: Any, step: Callable[..., Any]) -> Any:
        """Runs all calls in order, dropping every tensor after its last use.

        Args:
            arrays: Weights and sizes by path.
            inputs: Structure of tensors like the model's inputs.
            step: Runs one call, with the signature of `step`; whoever wants to see or change what
                goes into a call or comes out of it wraps that.

        Returns:
            Structure of tensors like the model's outputs.
        """
        structure = self.graph.calls.inputs
        keras.tree.assert_same_structure(structure, inputs)
        tensors = dict(zip(keras.tree.flatten(structure), keras.tree.flatten(inputs), strict=True))
        for index in range(len(self._calls)):
            self.advance(
                index,
                tensors,
                lambda call, args, kwargs: step(call, arrays_of(call, arrays), args, kwargs),
            )
        return keras.tree.map_structure(tensors.__getitem__, self.graph.calls.outputs)

    def advance(self, index: int, tensors: dict[Value, Any], step: Callable[..., Any]) -> None:
        """Runs one call, and drops every tensor that no later one reads.

        Args:
            index: The call's number.
            tensors: What there is before the call; changed in place.
            step: Function of the call, its arguments and keyword arguments to its outputs.
        """
        call = self._calls[index]
        args, kwargs = call.bind(tensors)
        outputs = step(call, args, kwargs)
        tensors.update(zip(call.outputs, keras.tree.flatten(outputs), strict=True))
        for value in self._drop[index]:
            tensors.pop(value, None)


def trains(operation: keras.Operation) -> bool:
    """Whether an operation may do something else in training, as augmentation layers do."""
    return "training" in inspect.signature(operation.call).parameters


def _same_axis(norm: Call, maker: Call) -> bool:
    """Whether a batch norm acts along the axis along which a layer makes channels."""
    rank = len(norm.outputs[0].shape)
    return norm.operation.axis % rank == find_rule(maker.operation).axis(maker) % rank
