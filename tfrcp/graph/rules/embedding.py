"""Embeddings: a table of which every row is the channels of one token."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfrcp.graph.atoms import Atoms, along
from tfrcp.graph.calls import Call
from tfrcp.graph.rules.base import Arrays, Rule, layer_like


class EmbeddingRule(Rule):
    """`Embedding`; table [tokens, out]. Reading a row takes no MACs.

    Tables that hide a token (`mask_zero`), are quantized or carry LoRA weights are frozen.
    """

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Makes new channels along the table's second axis."""
        layer, target = call.operation, call.outputs[0]
        if layer.mask_zero or layer.lora_enabled or layer.quantization_mode:
            atoms.give_up(call, "hides tokens, is quantized or carries LoRA weights")
            return
        atoms.freeze(atoms[call.inputs[0]], f"{call.path} ({call.kind}): reads them as tokens")
        outputs = atoms.new(layer.output_dim)
        atoms.weight(call, "embeddings", {1: ("output", outputs)})
        atoms[target] = along(outputs, -1, len(target.shape))

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """The same table with fewer columns."""
        if "embeddings" not in arrays:
            return layer_like(call.operation)
        return layer_like(call.operation, output_dim=arrays["embeddings"].shape[1])

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Reads rows."""
        rows = ops.take(arrays["embeddings"], ops.cast(args[0], "int32"), axis=0)
        return ops.cast(rows, call.operation.compute_dtype)
