"""The outcome of pruning from scratch in words."""

from __future__ import annotations

from tfrcp.run.report.reading import Metrics, is_number, section
from tfrcp.units import count, percent, plural


def headline(metrics: Metrics) -> str:
    """The outcome in one or two sentences; empty before the winner is tested."""
    after, before = section(metrics, "results", "after"), section(metrics, "results", "before")
    if not is_number(after.get("test_accuracy")):
        return ""
    images = section(metrics, "data").get("test")
    share = ""
    if is_number(after.get("flops")) and before.get("flops"):
        share = f" with {percent(after['flops'] / before['flops'])} of the MACs"
    epochs = len(section(metrics, "training", "winner", "history").get("loss") or [])
    start = "the supernet's" if section(metrics, "scratch").get("inherit") else "random"
    return (
        f"Found by a search over the weights of a supernet and trained from {start} weights for "
        f"{plural(epochs, 'epoch')}, the network{share} classifies "
        f"{percent(after['test_accuracy'])} of the {f'{images:,} ' if images else ''}test images "
        "correctly. The original network was not trained; its costs are for comparison."
    )


def method(metrics: Metrics) -> str:
    """What stands in the place of a trained network, a sentence."""
    scratch = section(metrics, "scratch")
    text = (
        "No network was trained before: the weights that score candidates are those of a supernet"
    )
    if is_number(scratch.get("supernet_flops")):
        text += f" of {count(scratch['supernet_flops'])} MACs"
    random = scratch.get("random_widths") or 0
    return (
        f"{text}, trained as it is, at its smallest and at {plural(random, 'random width')} in "
        "every step."
    )


def trainings(metrics: Metrics) -> list[str]:
    """How the supernet was trained, a sentence."""
    history = section(metrics, "training", "supernet", "history")
    ends = [
        f"{role} {percent(history[f'{role}_accuracy'][-1])}"
        for role in ("largest", "random", "smallest")
        if history.get(f"{role}_accuracy")
    ]
    if not ends:
        return []
    epochs = plural(len(history["loss"]), "epoch")
    return [
        f"Training of the supernet: {epochs}, at the end with an accuracy of {', '.join(ends)}."
    ]
