"""Runs a model at any of its widths inside one compiled graph, on the model's own variables.

Where a search slices arrays, this slices variables by a channel vector that is a tensor, so that
gradients reach the shared weights and nothing is rebuilt from width to width. A narrow network
costs what its own MACs cost. It is the sliced network and no masked one, so that what
normalizes over channels (layer and group normalization) sees only those that are left.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfrcp.arguments import check_int, check_number
from tfrcp.graph.calls import Call, Nested
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.inheritance import first_channels
from tfrcp.graph.program import Program, trains
from tfrcp.graph.rules import BatchNormalizationRule, find_rule
from tfrcp.graph.weights import variables_of
from tfrcp.space.space import SearchSpace

Sizes = dict[str, dict[str, Any]]


class Widths:
    """A traced model at widths that are tensors: every group keeps its first channels.

    Raises:
        ValueError: If a layer cannot be trained at several widths, with the reason.
    """

    def __init__(self, graph: ChannelGraph, model: keras.Model) -> None:
        self._graph, self._program = graph, Program(graph)
        self._variables = variables_of(graph, model)
        self._told = dict(_told(graph.calls.steps, None))
        self._axes, self._sized = _axes(graph), tuple(_sized(graph))
        for call in graph.calls.calls:
            norm = "moving_mean" in self._variables.get(call.path, ())
            if norm and not isinstance(find_rule(call.operation), BatchNormalizationRule):
                raise ValueError(
                    f"`{call.path}` ({call.kind}) wraps a batch norm, whose statistics cannot be "
                    "kept apart at several widths. Use the batch norm without the wrapper."
                )
            if isinstance(call.operation, keras.layers.SpectralNormalization):
                raise ValueError(
                    f"`{call.path}` ({call.kind}) divides its kernel by the largest singular value "
                    "of the whole in training, which is none of its parts'. Use the layer without "
                    "the wrapper."
                )

    def sizes(self, channels: np.ndarray) -> Sizes:
        """Numbers in the configuration of operations, such as paddings, at each width.

        Args:
            channels: int array [N, prunable groups].

        Returns:
            Dict that maps the key of a call to int arrays [N, ...] by name.
        """
        graph, result = self._graph, {}
        for call, columns in self._sized:
            # They depend on few groups, whose counts recur.
            found, places = np.unique(channels[:, columns], axis=0, return_inverse=True)
            groups = [graph.prunable[column] for column in columns]
            rule, rows = find_rule(call.operation), []
            for counts in found.tolist():
                keep = graph.keep(first_channels(groups, counts))
                rows.append(rule.sizes(call, graph.labels, keep))
            result[call.key] = {
                name: np.stack([row[name] for row in rows])[places.ravel()] for name in rows[0]
            }
        return result

    def run(self, inputs: Any, channels: Any, sizes: Sizes, *, training: bool) -> Any:
        """The outputs at a width.

        In training every batch norm normalizes by the statistics of these inputs at this width, and
        leaves the moving statistics alone, which are those of the whole model.

        Args:
            inputs: Structure of tensors like the model's inputs.
            channels: int tensor [prunable groups]: how many channels each group keeps.
            sizes: What `sizes` gives for this width.
            training: Whether to run as in training.

        Returns:
            Structure of tensors like the model's outputs.
        """

        def step(call: Call, entry: Mapping[str, Any] | None, args: tuple, kwargs: dict) -> Any:
            told = self._told[call]
            in_training = training if told is None else told
            if entry is None:
                if trains(call.operation):
                    kwargs = {**kwargs, "training": in_training}
                return call.operation(*args, **kwargs)
            if "moving_mean" in entry and in_training and call.operation.trainable:
                entry = {**entry, **_statistics(call, args[0])}
            if call.path in self._graph.proven and trains(call.operation):
                kwargs = {**kwargs, "training": in_training}
            return find_rule(call.operation).run(call, entry, args, kwargs)

        arrays = self._slice(channels)
        for key, entry in sizes.items():
            arrays[key] = {**arrays.get(key, {}), **entry}
        return self._program.interpret(arrays, self._program.pack(inputs), step)

    def _slice(self, channels: Any) -> dict[str, dict[str, Any]]:
        """The kept parts of all variables with channels, tensors by layer path and weight name."""
        counts = tf.unstack(channels, len(self._graph.prunable))
        arrays: dict[str, dict[str, Any]] = {}
        for path, variables in self._variables.items():
            arrays[path] = {}
            for name, variable in variables.items():
                array, ends = ops.convert_to_tensor(variable), {}
                for axis in self._axes.get((path, name), ()):
                    if axis.in_order:
                        ends[axis.number] = counts[axis.columns[0]]
                    else:
                        array = tf.gather(array, axis.kept(channels), axis=axis.number)
                arrays[path][name] = _first(array, ends) if ends else array
        return arrays


@dataclasses.dataclass(frozen=True, eq=False)
class _Axis:
    """An axis along which a weight is sliced.

    Attributes:
        number: Of the axis.
        columns: int32 array [length of the axis]: the column of the group at each position, -1
            where the position always stays.
        channel_of: int32 array [length of the axis]: the channel of that group.
    """

    number: int
    columns: np.ndarray
    channel_of: np.ndarray

    @cached_property
    def in_order(self) -> bool:
        """Whether these are the channels of one group in their order: the first ones are kept."""
        own = np.array_equal(self.channel_of, np.arange(len(self.columns)))
        return own and self.columns[0] >= 0 and bool((self.columns == self.columns[0]).all())

    def kept(self, channels: Any) -> Any:
        """The positions that are kept, int64 tensor."""
        counts = tf.gather(channels, self.columns.clip(0))
        return tf.where((self.columns < 0) | (self.channel_of < counts))[:, 0]


def _axes(graph: ChannelGraph) -> dict[tuple[str, str], list[_Axis]]:
    """The axes along which weights are sliced, by layer path and weight name."""
    found: dict[tuple[str, str, int], tuple[np.ndarray, np.ndarray]] = {}
    for column, group in enumerate(graph.prunable):
        for piece in group.slices:
            blank = np.full(len(piece.channel_of), -1, "int32")
            columns, channel_of = found.setdefault(
                (piece.layer, piece.weight, piece.axis), (blank, blank.copy())
            )
            here = piece.channel_of >= 0
            columns[here], channel_of[here] = column, piece.channel_of[here]
    axes = defaultdict(list)
    for (path, weight, axis), (columns, channel_of) in found.items():
        axes[path, weight].append(_Axis(axis, columns, channel_of))
    return dict(axes)


def _first(array: Any, ends: Mapping[int, Any]) -> Any:
    """The first positions of an array along each of the given axes."""
    rank = len(array.shape)
    whole = sum(1 << axis for axis in range(rank) if axis not in ends)
    end = [ends.get(axis, 0) for axis in range(rank)]
    return tf.strided_slice(array, [0] * rank, end, end_mask=whole)


def _sized(graph: ChannelGraph) -> Iterator[tuple[Call, list[int]]]:
    """The calls whose configuration has sizes in it, and the columns that these depend on."""
    keep = graph.keep({})
    for call in graph.calls.calls:
        if call.path in graph.given_up:
            continue
        if find_rule(call.operation).sizes(call, graph.labels, keep):
            values = (*call.inputs, *call.outputs)
            counts = [graph.counts(graph.labels[value])[0] for value in values]
            yield call, np.flatnonzero(np.sum(counts, axis=0)).tolist()


def _told(steps: Iterable[Call | Nested], outer: bool | None) -> Iterator[tuple[Call, bool | None]]:
    """What calls are told of whether this is training, by themselves or a model around them."""
    for step in steps:
        if isinstance(step, Nested):
            yield from _told(step.steps, outer if step.training is None else step.training)
        else:
            yield step, step.kwargs.get("training", outer)


def _statistics(call: Call, x: Any) -> dict[str, Any]:
    """Mean and variance of a batch norm's inputs, over all devices if it is synchronized."""
    layer, rank = call.operation, len(x.shape)
    mean, variance = ops.moments(
        ops.cast(x, keras.backend.result_type(x.dtype, "float32")),
        axes=[axis for axis in range(rank) if axis != layer.axis % rank],
        synchronized=layer.synchronized,
    )
    return {"moving_mean": mean, "moving_variance": variance}


def check_supernet(
    graph: ChannelGraph,
    space: SearchSpace,
    random_widths: int,
    distillation: float,
    temperature: float,
) -> None:
    """Refuses arguments of a `Supernet` that do not go together."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "A Supernet needs Keras on TensorFlow. Received: the backend "
            f"{keras.backend.backend()!r}"
        )
    groups, own = space.graph.prunable, graph.prunable
    if [(g.name, g.size) for g in groups] != [(g.name, g.size) for g in own]:
        raise ValueError(
            f"`space` must be made from a trace of `model`. Received: one of '{space.graph.name}', "
            f"whose groups are others than those of '{graph.name}'"
        )
    for group, most in zip(own, space.largest.tolist(), strict=True):
        if most != group.size:
            raise ValueError(
                "The largest widths of `space` must be the model's: build the model with the "
                f"channel counts `space.largest`. Received: {most} channels for group "
                f"'{group.name}', which has {group.size}"
            )
    check_int("random_widths", random_widths, 0)
    check_number("distillation", distillation, "[0, 1]")
    check_number("temperature", temperature, "(0, inf)")
