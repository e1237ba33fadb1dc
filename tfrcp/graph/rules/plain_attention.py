"""Attention without projections: `dot_product_attention`, `Attention` and `AdditiveAttention`."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any

import numpy as np
from keras import ops

from tfrcp.graph.atoms import Atoms, along
from tfrcp.graph.calls import Call, Value
from tfrcp.graph.rules.base import Arrays, Axes, Labels, Product
from tfrcp.graph.rules.products import ProductRule, product


class DotProductAttentionRule(ProductRule):
    """`keras.ops.dot_product_attention`: its heads are channels.

    Their width is that of the scale and of the result, so it stays.
    """

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Unites the heads of queries, keys and values."""
        target, options = call.outputs[0], dict(call.kwargs)
        given = dict(zip(("query", "key", "value", "bias", "mask"), call.args, strict=False))
        given = {**given, **options}
        extra = [x for x in (given.get("bias"), given.get("mask")) if x is not None]
        result = None
        for name in ("query", "key", "value"):
            labels = atoms.away(atoms.grid(given[name]), [0, 1, 3])
            if labels.size != labels.shape[2]:
                atoms.give_up(call, "channels lie along another axis than the heads'")
                return
            result = labels if result is None else atoms.unite(result, labels)
        if any(np.shape(x)[-3:-2] not in ((), (1,)) for x in extra):
            atoms.freeze(result, f"{call.path} ({call.kind}): has numbers for each head")
        atoms[target] = result

    def products(self, call: Call, labels: Labels, axes: Axes) -> Sequence[Product]:
        """Scores and weighted sums."""
        given = {**dict(zip(("query", "key", "value"), call.args, strict=False)), **call.kwargs}
        query, key, value = (given[name] for name in ("query", "key", "value"))
        target = call.outputs[0]
        return (
            product(call, ("atnh", "asnh", "atnh"), (query, key, target), labels),
            product(call, ("atnv", "asnv", "atnv"), (target, value, target), labels),
        )


class AttentionRule(ProductRule):
    """`Attention` and `AdditiveAttention`, without projections: the width is that of the channels.

    Queries and keys have the same channels, which are gone afterwards; the values' pass.
    """

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Unites the channels of queries and keys."""
        query, value, key = _attended(call)
        lines = [atoms.axis_labels(x, -1) for x in (query, key, value)]
        scale = call.variables.get("scale")
        each = scale is not None and len(scale.shape) > 0  # a number for each channel
        masked = len(call.inputs) > len(call.args[0]) or each and call.kwargs.get("use_causal_mask")
        if masked or len(call.outputs) > 1:
            atoms.give_up(call, "is given masks or returns its scores")
            return
        if any(channels is None for channels in lines):
            atoms.give_up(call, "channels lie along another axis than the last")
            return
        channels = atoms.unite(lines[0], lines[1])
        atoms.normalize(call, channels)
        if each:
            atoms.weight(call, "scale", {0: ("channelwise", channels)})
        atoms[call.outputs[0]] = along(lines[2], -1, len(call.outputs[0].shape))

    def products(self, call: Call, labels: Labels, axes: Axes) -> Sequence[Product]:
        """Scores and weighted sums."""
        query, value, key = _attended(call)
        lead, target = ascii_lowercase[: len(query.shape) - 2], call.outputs[0]
        scores = (f"{lead}xz", f"{lead}yz", f"{lead}xz")
        sums = (f"{lead}xw", f"{lead}yw", f"{lead}xw")
        return (
            product(call, scores, (query, key, query), labels),
            product(call, sums, (target, value, target), labels),
        )

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`AdditiveAttention` with the sliced scale."""
        query, value, *key = args[0]
        pairs = ops.expand_dims(query, -2) + ops.expand_dims(key[0] if key else value, -3)
        scores = ops.sum(ops.cast(arrays["scale"], pairs.dtype) * ops.tanh(pairs), axis=-1)
        return ops.matmul(ops.softmax(scores), value)


def _attended(call: Call) -> list[Value]:
    """Query, value and key: the values where none is given."""
    given = list(call.args[0])
    return given if len(given) == 3 else [*given, given[1]]
