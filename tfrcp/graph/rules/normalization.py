"""Batch normalization."""

from __future__ import annotations

from typing import Any

from keras import ops

from tfrcp.graph.atoms import Atoms, line
from tfrcp.graph.calls import Call
from tfrcp.graph.rules.base import Arrays, Rule


class BatchNormalizationRule(Rule):
    """`BatchNormalization`: acts on each channel alone, with statistics of its own for each."""

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Labels gamma, beta and the moving statistics."""
        layer = call.operation
        labels = atoms[call.inputs[0]]
        channels = line(labels, call.inputs[0], layer.axis)
        if channels is None:
            atoms.give_up(call, "normalizes along an axis that is not the channels'")
            return
        if getattr(layer, "renorm", False):
            atoms.give_up(call, "batch renormalization is not supported")
            return
        for name in call.variables:
            atoms.weight(call, name, {0: ("channelwise", channels)})
        atoms[call.outputs[0]] = labels

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Normalizes with the statistics among `arrays`."""
        layer = call.operation
        return ops.batch_normalization(
            args[0],
            arrays["moving_mean"],
            arrays["moving_variance"],
            axis=layer.axis,
            offset=arrays.get("beta"),
            scale=arrays.get("gamma"),
            epsilon=layer.epsilon,
        )
