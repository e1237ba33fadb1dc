"""The outcome of pruning from scratch in words."""

from __future__ import annotations

from tfrcp.run.report.reading import Metrics, number_at, results, section
from tfrcp.units import count, percent, plural


def headline(metrics: Metrics) -> str:
    """The outcome in one or two sentences; empty before the winner is tested."""
    pair = results(metrics)
    accuracy = pair.after.scores.get("test_accuracy")
    if accuracy is None:
        return ""
    images = section(metrics, "data").get("test")
    ratio = pair.ratio("flops")
    share = "" if ratio is None else f" with {percent(ratio)} of the MACs"
    epochs = len(section(metrics, "training", "winner", "history").get("loss") or [])
    start = "the supernet's" if section(metrics, "scratch").get("inherit") else "random"
    return (
        f"Found by a search over the weights of a supernet and trained from {start} weights for "
        f"{plural(epochs, 'epoch')}, the network{share} classifies "
        f"{percent(accuracy)} of the {f'{images:,} ' if images else ''}test images "
        "correctly. The original network was not trained; its costs are for comparison."
    )


def method(metrics: Metrics) -> str:
    """What stands in the place of a trained network, a sentence."""
    scratch = section(metrics, "scratch")
    text = (
        "No network was trained before: the weights that score candidates are those of a supernet"
    )
    if (flops := number_at(metrics, "scratch", "supernet_flops")) is not None:
        text += f" of {count(flops)} MACs"
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
