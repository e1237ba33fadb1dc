"""Attention: whole heads are pruned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.atoms import Atoms, along
from tfrcp.graph.calls import Call, Value
from tfrcp.graph.rules.base import Arrays, Axes, Labels, Product, Rule, known_line, layer_like

_ENDS = ("query", "key", "value")


class MultiHeadAttentionRule(Rule):
    """`MultiHeadAttention` over one axis: its heads are channels, and so are its outputs.

    Masks other than the causal one, gates, windows and returned scores freeze what they touch.
    """

    def heads(self, layer: Any, atoms: Atoms) -> dict[str, np.ndarray]:
        """New channels for the heads.

        Args:
            layer: The layer.
            atoms: Makes new channels.

        Returns:
            Dict that maps "query", "key" and "value" to labels [heads].
        """
        return dict.fromkeys(_ENDS, atoms.new(layer.num_heads))

    def outputs(self, inputs: Mapping[str, np.ndarray], size: int, atoms: Atoms) -> np.ndarray:
        """Labels of the output channels, [size].

        Args:
            inputs: Labels of the channels of query, key and value.
            size: Number of output channels.
            atoms: Makes new channels.
        """
        return atoms.new(size)

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Labels the projections."""
        layer = call.operation
        refusal = self._refusal(call)
        ends = self._ends(call) if not refusal else {}
        lines = {name: atoms.axis_labels(value, -1) for name, value in ends.items()}
        if refusal or any(channels is None for channels in lines.values()):
            atoms.give_up(call, refusal or "channels lie along an axis that it does not mix")
            return
        heads = self.heads(layer, atoms)
        for name, channels in lines.items():
            axes = {0: ("input", channels), 1: ("output", heads[name])}
            atoms.weight(call, f"{name}/kernel", axes)
            if layer.use_bias:
                atoms.weight(call, f"{name}/bias", {0: ("channelwise", heads[name])})
        target = call.outputs[0]
        outputs = self.outputs(lines, target.shape[-1], atoms)
        axes = {0: ("input", heads["query"]), 2: ("output", outputs)}
        atoms.weight(call, "attention_output/kernel", axes)
        if layer.use_bias:
            atoms.weight(call, "attention_output/bias", {0: ("channelwise", outputs)})
        atoms[target] = along(outputs, -1, len(target.shape))

    def _ends(self, call: Call) -> dict[str, Value]:
        """The tensors behind query, key and value."""
        given = _given(call.args, call.kwargs)
        return {name: given[name] for name in _ENDS}

    def _refusal(self, call: Call) -> str | None:
        layer, options = call.operation, dict(call.kwargs)
        adapted = ("lora_enabled", "quantization_mode")
        if any(getattr(x, name, None) for x in layer._flatten_layers() for name in adapted):
            return "is quantized or carries LoRA weights; prune first"
        masks = ("attention_mask", "query_mask", "value_mask", "key_mask")
        if any(options.get(name) is not None for name in masks) or len(call.args) > 3:
            return "is given a mask"
        if options.get("return_attention_scores") or len(call.outputs) > 1:
            return "returns its scores"
        config = layer.get_config()
        if (
            config.get("use_gate")
            or config.get("sliding_window")
            or config.get("attention_axes") not in (None, (1,), [1])
        ):
            return "has a gate, a sliding window or several attention axes"
        if len(call.outputs[0].shape) != 3:
            return "attends over more than one axis"
        return None

    def products(self, call: Call, labels: Labels, axes: Axes) -> Sequence[Product]:
        """Projections, scores and weighted sums: positions x inputs x heads x size of a head."""
        ends, target = self._ends(call), call.outputs[0]
        ways = {**ends, "gate": ends["query"]} if "gate/kernel" in call.variables else ends
        products = []
        for name, value in ways.items():
            _, count, size = _kernel(call, name).shape
            heads = axes.get((f"{name}/kernel", 1), np.full(count, -1))
            inputs = known_line(labels, value, -1)
            products.append(Product(_length(call, value) * size, (inputs, heads)))
        count, value_size, _ = _kernel(call, "attention_output").shape
        heads = axes.get(("attention_output/kernel", 0), np.full(count, -1))
        pairs = _pairs(call, ends["query"], ends["key"])
        key_size = _kernel(call, "key").shape[-1]
        products.append(Product(pairs * (key_size + value_size), (heads,)))
        outputs = known_line(labels, target, -1)
        products.append(Product(_length(call, ends["query"]) * value_size, (heads, outputs)))
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
        layer, given, heads = call.operation, _given(args, kwargs), {}
        for name in _ENDS:
            heads[name] = ops.einsum("btd,dhk->bthk", given[name], arrays[f"{name}/kernel"])
            if layer.use_bias:
                heads[name] = heads[name] + arrays[f"{name}/bias"]
        heads = self.spread(layer, heads)
        scores = ops.einsum("bthk,bshk->bhts", heads["query"], heads["key"])
        scores = scores / math.sqrt(arrays["key/kernel"].shape[-1])
        if given.get("use_causal_mask"):
            query, key = ops.shape(scores)[2], ops.shape(scores)[3]
            allowed = ops.arange(query)[:, None] >= ops.arange(key)[None, :]
            scores = ops.where(allowed, scores, ops.cast(-1e9, scores.dtype))
        summed = ops.einsum("bhts,bshk->bthk", ops.softmax(scores), heads["value"])
        y = ops.einsum("bthk,hkd->btd", summed, arrays["attention_output/kernel"])
        return y + arrays["attention_output/bias"] if layer.use_bias else y

    def spread(self, layer: Any, heads: Mapping[str, Any]) -> Mapping[str, Any]:
        """Projections [batch, length, heads, size of a head], with a key for every query."""
        return heads


class GroupQueryAttentionRule(MultiHeadAttentionRule):
    """`GroupQueryAttention`: a head of keys and values goes with all the query heads that read it.

    Where there is one such head only, the query heads are channels, and it stays. The layer gives
    as many channels as its inputs have, so that these stay or go together.
    """

    def heads(self, layer: Any, atoms: Atoms) -> dict[str, np.ndarray]:
        """New channels for the heads of keys and values, or else for those of the queries."""
        if layer.num_key_value_heads == 1:
            shared = atoms.outside(1, "the only head of keys and values")
            return {"query": atoms.new(layer.num_query_heads), "key": shared, "value": shared}
        pairs = atoms.new(layer.num_key_value_heads)
        return {"query": np.repeat(pairs, layer.num_repeats), "key": pairs, "value": pairs}

    def outputs(self, inputs: Mapping[str, np.ndarray], size: int, atoms: Atoms) -> np.ndarray:
        """The channels of the inputs, of which Keras wants as many in each of them."""
        outputs = atoms.new(size)
        for channels in inputs.values():
            outputs = atoms.unite(outputs, channels)
        return outputs

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same layer with fewer heads."""
        if "query/kernel" not in arrays:
            return layer_like(call.operation)
        return layer_like(
            call.operation,
            num_query_heads=arrays["query/kernel"].shape[1],
            num_key_value_heads=arrays["key/kernel"].shape[1],
        )

    def spread(self, layer: Any, heads: Mapping[str, Any]) -> Mapping[str, Any]:
        """Repeats keys and values for the queries that share them."""
        if layer.num_key_value_heads == 1:
            fill = ops.zeros_like(heads["query"][:, :1])
            return {**heads, "key": heads["key"] + fill, "value": heads["value"] + fill}
        again = {name: ops.repeat(heads[name], layer.num_repeats, 2) for name in ("key", "value")}
        return {**heads, **again}


def _given(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by name; the key is the value where none is given."""
    given = {**dict(zip(("query", "value", "key"), args, strict=False)), **kwargs}
    if given.get("key") is None:
        given["key"] = given["value"]
    return given


def _kernel(call: Call, name: str) -> Any:
    """The kernel of an inner layer: of a quantized one not as it is packed."""
    return next(x for x in call.operation._flatten_layers() if x.name == name).kernel


def _length(call: Call, value: Value) -> int:
    """Number of positions of a tensor [batch, ..., channels]."""
    return _pairs(call, value, None)


def _pairs(call: Call, query: Value, key: Value | None) -> int:
    """Number of pairs of positions that attend to each other; of positions if `key` is `None`."""
    rank = len(query.shape)
    attended = getattr(call.operation, "attention_axes", None) or range(1, rank - 1)
    sizes = list(query.sizes[:-1])
    if key is not None:
        sizes += [key.sizes[axis] for axis in attended]
    if None in sizes:
        raise ValueError(
            f"The cost of `{call.path}` depends on the sequence length, which the model leaves "
            "open. Give `tfrcp.trace` an `input_shape`."
        )
    return math.prod(sizes)
