"""Attention: whole heads are pruned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfrcp.graph.atoms import Atoms, along, line
from tfrcp.graph.calls import Call, Value
from tfrcp.graph.rules.base import Arrays, Axes, Labels, Product, Rule, known_line, layer_like


class MultiHeadAttentionRule(Rule):
    """`MultiHeadAttention` over one axis: its heads are channels, and so are its outputs.

    Masks other than the causal one, gates, windows and returned scores freeze what they touch.
    """

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Labels the projections."""
        layer = call.operation
        refusal = self._refusal(call)
        ends = self._ends(call) if not refusal else {}
        lines = {name: line(atoms[value], value, -1) for name, value in ends.items()}
        if refusal or any(channels is None for channels in lines.values()):
            atoms.give_up(call, refusal or "channels lie along an axis that it does not mix")
            return
        heads = atoms.new(layer.num_heads)
        for name, channels in lines.items():
            axes = {0: ("input", channels), 1: ("output", heads)}
            atoms.weight(call, f"{name}/kernel", axes)
            if layer.use_bias:
                atoms.weight(call, f"{name}/bias", {0: ("channelwise", heads)})
        target = call.outputs[0]
        outputs = atoms.new(target.shape[-1])
        axes = {0: ("input", heads), 2: ("output", outputs)}
        atoms.weight(call, "attention_output/kernel", axes)
        if layer.use_bias:
            atoms.weight(call, "attention_output/bias", {0: ("channelwise", outputs)})
        atoms[target] = along(outputs, -1, len(target.shape))

    def _ends(self, call: Call) -> dict[str, Value]:
        """The tensors behind query, key and value."""
        names = ("query", "value", "key")
        given = {**dict(zip(names, call.args, strict=False)), **call.kwargs}
        query, value = given["query"], given["value"]
        key = given.get("key")
        return {"query": query, "key": value if key is None else key, "value": value}

    def _refusal(self, call: Call) -> str | None:
        layer, options = call.operation, dict(call.kwargs)
        masks = ("attention_mask", "query_mask", "value_mask", "key_mask")
        if any(options.get(name) is not None for name in masks) or len(call.args) > 3:
            return "is given a mask"
        if options.get("return_attention_scores") or len(call.outputs) > 1:
            return "returns its scores"
        config = layer.get_config()
        if (
            config.get("use_gate")
            or config.get("sliding_window")
            or layer.attention_axes
            not in (
                None,
                (1,),
            )
        ):
            return "has a gate, a sliding window or several attention axes"
        if len(call.outputs[0].shape) != 3:
            return "attends over more than one axis"
        return None

    def products(self, call: Call, labels: Labels, axes: Axes) -> Sequence[Product]:
        """Projections, scores and weighted sums: positions x inputs x heads x size of a head."""
        layer = call.operation
        if self._refusal(call):
            return ()
        ends, target = self._ends(call), call.outputs[0]
        length = {name: value.shape[1] for name, value in ends.items()}
        if None in length.values():
            raise ValueError(
                f"The cost of `{call.path}` depends on the sequence length, which the model leaves "
                "open. Build the model with a fixed input shape."
            )
        sizes = {"query": layer.key_dim, "key": layer.key_dim, "value": layer.value_dim}
        heads = axes["query/kernel", 1]
        outputs = known_line(labels, target, -1)
        products = [
            Product(length[name] * sizes[name], (known_line(labels, value, -1), heads))
            for name, value in ends.items()
        ]
        pairs = length["query"] * length["key"]
        products.append(Product(pairs * (layer.key_dim + layer.value_dim), (heads,)))
        products.append(Product(length["query"] * layer.value_dim, (heads, outputs)))
        return products

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same layer with fewer heads, keys of the same size."""
        kernel = arrays.get("attention_output/kernel")
        if kernel is None:
            return layer_like(call.operation)
        return layer_like(
            call.operation, num_heads=kernel.shape[0], output_shape=(kernel.shape[-1],)
        )

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Scaled dot-product attention on the heads that are left."""
        layer = call.operation
        given = {**dict(zip(("query", "value", "key"), args, strict=False)), **kwargs}
        key = given.get("key")
        tensors = {
            "query": given["query"],
            "key": given["value"] if key is None else key,
            "value": given["value"],
        }
        heads = {}
        for name, x in tensors.items():
            heads[name] = ops.einsum("btd,dhk->bthk", x, arrays[f"{name}/kernel"])
            if layer.use_bias:
                heads[name] = heads[name] + arrays[f"{name}/bias"]
        scores = ops.einsum("bthk,bshk->bhts", heads["query"], heads["key"])
        scores = scores / math.sqrt(layer.key_dim)
        if given.get("use_causal_mask"):
            query, key = ops.shape(scores)[2], ops.shape(scores)[3]
            allowed = ops.arange(query)[:, None] >= ops.arange(key)[None, :]
            scores = ops.where(allowed, scores, ops.cast(-1e9, scores.dtype))
        summed = ops.einsum("bhts,bshk->bthk", ops.softmax(scores), heads["value"])
        y = ops.einsum("bthk,hkd->btd", summed, arrays["attention_output/kernel"])
        return y + arrays["attention_output/bias"] if layer.use_bias else y
