"""Cuts a traced network into segments that a runtime fuses, and builds each at any width."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from functools import cached_property
from typing import Any

import keras
import numpy as np

from tfrcp.graph.calls import Call, Value
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.inheritance import first_channels
from tfrcp.graph.rules import BatchNormalizationRule, ElementwiseRule, KernelRule, Rule, find_rule
from tfrcp.graph.weights import arrays_of, slice_weights
from tfrcp.models.structure import input_structure, output_structure

# What a configuration says that does not change how long a layer takes.
_IDLE = ("name", "trainable", "initializer", "regularizer", "constraint", "seed", "momentum")


@dataclasses.dataclass(frozen=True, eq=False)
class Segment:
    """Calls that run as one: a first one, and the elementwise ones that alone read its output.

    The prunable groups that it meets are of two kinds: those of its inputs, which vary together,
    and those that its own outputs add.

    Attributes:
        graph: The trace of the whole network.
        calls: The calls.
        inputs: What they read from outside.
    """

    graph: ChannelGraph
    calls: tuple[Call, ...]
    inputs: tuple[Value, ...]

    @property
    def output(self) -> Value:
        """What the last call makes (the first of its outputs)."""
        return self.calls[-1].outputs[0]

    @cached_property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Two linear functions of [channels, 1]: input channels, and output channels that it adds.

        Each is a float array [prunable groups + 1].
        """
        source = sum((self._row(value) for value in self.inputs), np.zeros(self._width))
        target = self._row(self.output)
        target[:-1][source[:-1] > 0] = 0
        return source, target

    @property
    def _width(self) -> int:
        return len(self.graph.prunable) + 1

    def _row(self, value: Value) -> np.ndarray:
        positions, always = self.graph.counts(self.graph.labels[value])
        return np.append(positions, always).astype(float)

    def counts(self, channels: np.ndarray) -> np.ndarray:
        """Input and added output channels of channel vectors [N, groups], float array [2, N]."""
        return np.stack([channels @ row[:-1] + row[-1] for row in self.rows])

    @cached_property
    def key(self) -> str:
        """Segments of the same key take the same time at the same counts."""
        numbers = {value: f"x{i}" for i, value in enumerate(self.inputs)}
        parts: list[Any] = [(value.shape[1:], value.dtype) for value in self.inputs]
        for call in self.calls:
            for value in call.outputs:
                numbers[value] = f"y{len(numbers)}"
            name = lambda x: numbers[x] if isinstance(x, Value) else str(x)  # noqa: E731
            arguments = keras.tree.map_structure(name, (call.args, dict(call.kwargs)))
            parts.append((call.kind, _config(call.operation), str(arguments)))
        parts.append([row[:-1].sum() for row in self.rows])
        parts.append([self.counts(self.graph.full[None]).tolist()])
        text = json.dumps(parts, sort_keys=True, default=str)
        return f"{self.calls[0].kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def vector(self, source: float, target: float, divisor: int = 1) -> np.ndarray:
        """A channel vector with shares of the input's and of the added groups' channels kept."""
        share = np.ones(self._width - 1)
        share[self.rows[0][:-1] > 0] = source
        share[self.rows[1][:-1] > 0] = target
        return widths(self.graph.full, share, divisor)

    def build(self, channels: np.ndarray) -> keras.Model:
        """The segment as a model of its own, at the widths of a channel vector [groups]."""
        masks = first_channels(self.graph.prunable, channels.tolist())
        keep = self.graph.keep(masks)
        paths = {call.path for call in self.calls}
        part = dataclasses.replace(
            self.graph,
            calls=dataclasses.replace(self.graph.calls, steps=self.calls),
            places=tuple(place for place in self.graph.places if place.path in paths),
        )
        weights = {
            path: {name: np.asarray(v) for name, v in entry.items()}
            for path, entry in _variables(part).items()
        }
        arrays = slice_weights(part, weights, masks)
        tensors: dict[Value, Any] = {
            value: keras.Input(self._sliced(value, keep), dtype=value.dtype, name=f"x{i}")
            for i, value in enumerate(self.inputs)
        }
        inputs = {tensor.name: tensor for tensor in tensors.values()}
        layers: dict[str, Any] = {}
        for call in self.calls:
            rule = Rule() if call.path in self.graph.given_up else find_rule(call.operation)
            if call.path not in layers:
                layers[call.path] = rule.rebuild(call, arrays_of(call, arrays) or {})
            args, kwargs = call.bind(tensors)
            outputs = layers[call.path](*args, **kwargs)
            tensors.update(zip(call.outputs, keras.tree.flatten(outputs), strict=True))
        return keras.Model(inputs, tensors[self.output])

    def _sliced(self, value: Value, keep: Any) -> tuple[int | None, ...]:
        """Shape of a tensor of which only some channels are left, without the batch."""
        labels, shape = self.graph.labels[value], list(value.shape)
        for axis, size in enumerate(labels.shape):
            if axis and size == shape[axis]:
                others = tuple(i for i in range(labels.ndim) if i != axis)
                shape[axis] = int(keep(labels).any(axis=others).sum())
        return tuple(shape[1:])


def widths(full: np.ndarray, share: np.ndarray, divisor: int) -> np.ndarray:
    """Channel counts as the search would choose them, int64 array like `share`.

    All channels where the share is 1; else multiples of the divisor. For divisor 1 odd counts, as
    most counts are no multiples of what kernels work in, and those that are run faster.
    """
    counts = np.rint(full * share).astype("int64")
    counts = counts | 1 if divisor == 1 else np.maximum(counts // divisor, 1) * divisor
    counts = np.where(counts >= full, full - 1 if divisor == 1 else full, counts)
    return np.where(share == 1, full, np.maximum(counts, 1))


def cut(graph: ChannelGraph) -> tuple[Segment, ...]:
    """Cuts a network into segments, in the order of the forward pass."""
    read = Counter(value for call in graph.calls.calls for value in call.inputs)
    read.update(keras.tree.flatten(graph.calls.outputs))
    chains: list[list[Call]] = []
    ends: dict[Value, list[Call]] = {}
    for call in graph.calls.calls:
        chain = ends.get(call.inputs[0]) if len(call.inputs) == 1 else None
        if chain is None or read[call.inputs[0]] > 1 or not _joins(call):
            chain = []
            chains.append(chain)
        chain.append(call)
        if len(call.outputs) == 1:
            ends[call.outputs[0]] = chain
    segments = []
    for chain in chains:
        made = {value for call in chain for value in call.outputs}
        inputs = dict.fromkeys(v for call in chain for v in call.inputs if v not in made)
        if inputs:
            segments.append(Segment(graph, tuple(chain), tuple(inputs)))
    return tuple(segments)


def _joins(call: Call) -> bool:
    """Whether a call runs together with the one before it."""
    rule = find_rule(call.operation)
    return isinstance(rule, BatchNormalizationRule | ElementwiseRule) and not isinstance(
        rule, KernelRule
    )


def _config(operation: keras.Operation) -> Any:
    """What matters of a configuration."""
    try:
        config = operation.get_config()
    except NotImplementedError:
        config = {k: v for k, v in vars(operation).items() if not k.startswith("_")}
    return {
        name: value
        for name, value in config.items()
        if not any(idle in name for idle in _IDLE) and name not in ("filters", "units", "build")
    }


def _variables(graph: ChannelGraph) -> dict[str, dict[str, Any]]:
    """The weights with channels of a part of a network."""
    owners = {call.path: call.variables for call in graph.calls.calls}
    found: dict[str, dict[str, Any]] = {}
    for place in graph.places:
        variable = owners[place.path][place.weight]
        found.setdefault(place.path, {})[place.weight] = variable
    return found


def corner(tensor: Any) -> Any:
    """A single position of every image: something to wait for, of which no copy takes time."""
    return tensor[(slice(None), *[slice(0, 1)] * (len(tensor.shape) - 1))]


def quiet(model: keras.Model) -> keras.Model:
    """The model with a single position of its output."""
    return keras.Model(input_structure(model), corner(output_structure(model)))
