"""Tells in words what a trace found."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfrcp.graph.calls import Call
    from tfrcp.graph.channels import ChannelGraph, ChannelGroup

_WIDTH = 100


def explain(graph: ChannelGraph) -> str:
    """What is coupled with what, what is frozen and why.

    Args:
        graph: The trace.

    Returns:
        Text of at most 100 columns.
    """
    prunable, frozen = graph.prunable, [group for group in graph.groups if not group.prunable]
    total, held = (sum(group.size for group in groups) for groups in (prunable, frozen))
    lines = _wrap(
        f"{graph.name}: {_count(len(prunable), 'prunable group')} with {_count(total, 'channel')}, "
        f"{_count(held, 'channel')} frozen.",
        "",
    )
    if prunable:
        lines += ["", "Prunable: the channels of a group stay or go in all its layers at once."]
    for group in prunable:
        lines += _wrap(f"{group.name}: {_count(group.size, 'channel')}", "  ")
        lines += _layers(group)
    if frozen:
        lines += ["", "Frozen:"]
    for group in frozen:
        lines += _wrap(f"{group.name}: {_count(group.size, 'channel')}, {group.reason}", "  ")
    if graph.proven:
        lines += [
            "",
            "Layers without a rule through which each channel passes alone, as was shown:",
        ]
    for path, proof in graph.proven.items():
        lines += _wrap(f"{path}: {proof}", "  ")
    if graph.unknown:
        weights = {call.path: _size(call) for call in graph.calls.calls}
        lines += ["", "No rule; what they touch is frozen, and what they cost stays:"]
        for path, kind in graph.unknown.items():
            # A group's reason names the first operation that froze it.
            held = sum(group.size for group in frozen if group.reason.startswith(f"{path} ("))
            text = f"{path} ({kind}): {_count(held, 'channel')} frozen"
            if weights[path]:
                text += f", {_count(weights[path], 'weight')} kept whole"
            if path in graph.calls.closed:
                text += f"; not opened: {graph.calls.closed[path]}"
            lines += _wrap(text, "  ")
        lines += _wrap(
            "For a layer of your own, `tfrcp.register_rule(LayerClass, rule)` teaches tfrcp how "
            "channels pass; one that acts on each channel alone needs only "
            "`tfrcp.graph.rules.ElementwiseRule()`. See examples/custom_layer.py.",
            "",
        )
    return "\n".join(lines)


def _size(call: Call) -> int:
    """Number of weights of a call's layer."""
    return sum(math.prod(variable.shape) for variable in call.variables.values())


def _layers(group: ChannelGroup) -> list[str]:
    """The layers in which a group's channels live, by what they do with them."""
    lines = []
    for role, words in (
        ("output", "made by"),
        ("channelwise", "pass"),
        ("input", "read by"),
    ):
        layers = dict.fromkeys(piece.layer for piece in group.slices if piece.role == role)
        if role == "channelwise":
            makers = {piece.layer for piece in group.slices if piece.role == "output"}
            layers = [layer for layer in layers if layer not in makers]
        if layers:
            lines += _wrap(f"{words} {', '.join(layers)}", "    ")
    if group.normalized:
        norms = ", ".join(dict.fromkeys(group.normalized))
        lines += _wrap(f"normalized together by {norms}: masking would not equal removing", "    ")
    return lines


def _wrap(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
