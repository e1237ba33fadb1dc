"""The outcome of a run in words and numbers, for the page and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tfrcp.report.units import count, percent, plural, points, size

Metrics = Mapping[str, Any]


def section(metrics: Metrics, *keys: str) -> Mapping[str, Any]:
    """The mapping under `keys`; empty where one of them is missing or null."""
    for key in keys:
        metrics = metrics.get(key) or {}
    return metrics


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number, and so neither missing nor failed."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def scored_trials(metrics: Metrics) -> list[Mapping[str, Any]]:
    """The trials with a score, in their order."""
    trials = section(metrics, "search").get("trials") or []
    return [trial for trial in trials if is_number(trial.get("score"))]


def winner(metrics: Metrics) -> Mapping[str, Any] | None:
    """The best trial, if it is named and has a score."""
    best = section(metrics, "search").get("best")
    return next((trial for trial in scored_trials(metrics) if trial.get("id") == best), None)


def is_accuracy(metrics: Metrics) -> bool:
    """Whether the search's scores are fractions of right answers."""
    return (section(metrics, "search").get("objective") or "val_accuracy").endswith("accuracy")


FILES = {
    "tf_saved_model": "SavedModel",
    "litert": "LiteRT float32",
    "litert_float16": "LiteRT float16",
    "litert_dynamic": "LiteRT dynamic range",
    "litert_int8": "LiteRT int8",
    "onnx": "ONNX",
}

Row = tuple[str, str, str, str]


def rows(metrics: Metrics) -> list[Row]:
    """The before/after table: quantity with its unit, before, after, and how they compare.

    First the networks, then the files that were exported. What was measured neither before nor
    after has no row.
    """
    found = _rows(section(metrics, "results"), "test accuracy")
    for name, title in FILES.items():
        file = section(metrics, "export", name)
        measured = _rows(file, "holdout accuracy")
        found += [(f"{title}: {label}", *cells) for label, *cells in measured]
    return found


def _rows(results: Mapping[str, Any], accuracy: str) -> list[Row]:
    """Rows of one pair, the networks or their files."""
    before, after = section(results, "before"), section(results, "after")
    latency = section(results, "latency_ratio")
    columns = {
        "test_accuracy": (accuracy, percent),
        "accuracy": (accuracy, percent),
        "flops": ("multiply-adds per image", count),
        "params": ("parameters", count),
        "activations": ("activations per image", count),
        "bytes": ("size on disk", size),
        "latency_ms": (", ".join(["latency per image", *_conditions(latency)]), "{:.3g} ms".format),
    }
    found: list[Row] = []
    for key, (label, text) in columns.items():
        values = before.get(key), after.get(key)
        known = [is_number(value) for value in values]
        if not any(known):
            continue
        comparison = ""
        if key == "latency_ms" and is_number(latency.get("ratio")):
            comparison = f"{latency['ratio']:.2f}"
            if is_number(latency.get("low")) and is_number(latency.get("high")):
                comparison += f" ({latency['low']:.2f} to {latency['high']:.2f})"
        elif label == accuracy and all(known):
            comparison = points(values[1] - values[0])
        elif all(known) and values[0]:
            comparison = f"{values[1] / values[0]:.3f}"
        cells = [text(value) if ok else "" for value, ok in zip(values, known, strict=True)]
        found.append((label, cells[0], cells[1], comparison))
    return found


def saving(metrics: Metrics) -> str:
    """How much of the saved multiply-adds arrives as saved time, a sentence; empty if unknown."""
    share = [section(metrics, "results", when).get("flops") for when in ("before", "after")]
    places = {"TensorFlow, the Keras model": section(metrics, "results", "latency_ratio")}
    for name, title in FILES.items():
        places[title] = section(metrics, "export", name, "latency_ratio")
    ratios = {title: found["ratio"] for title, found in places.items() if found.get("ratio")}
    if not (all(map(is_number, share)) and share[0] > share[1]) or not ratios:
        return ""
    expected = 1 - share[1] / share[0]
    parts = [f"{percent(1 - ratio)} in {title}" for title, ratio in ratios.items()]
    text = f"Of the multiply-adds {percent(expected)} are saved, of the time {', '.join(parts)}"
    best = min(ratios, key=ratios.get)
    arrived = (1 - ratios[best]) / expected
    if arrived < 0.8:
        return (
            f"{text}: less than four fifths of the saving arrive on this machine. Channel counts "
            "in multiples of 8 may bring more; `bin/profile.py --measure` tells."
        )
    return f"{text}: at best, in {best}, {percent(arrived)} of the saving arrive."


def table(metrics: Metrics) -> str:
    """The before/after table as plain text for the terminal; empty if nothing was measured.

    Args:
        metrics: the content of `metrics.json`.

    Returns:
        Lines with aligned columns, without a trailing newline.
    """
    body = rows(metrics)
    if not body:
        return ""
    body.insert(0, ("", "before", "after", "after / before"))
    widths = [max(len(row[column]) for row in body) for column in range(4)]
    lines = []
    for row in body:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    lines += ["", f"One multiply-add is one FLOP. {latency_verdict(metrics)}".rstrip()]
    lines += [text for text in [saving(metrics)] if text]
    return "\n".join(lines)


def headline(metrics: Metrics) -> str:
    """The outcome in one to three sentences."""
    before, after = section(metrics, "results", "before"), section(metrics, "results", "after")
    if is_number(after.get("test_accuracy")):
        return f"{_outcome(metrics)} {latency_verdict(metrics)}".rstrip()
    if winner(metrics):
        return f"{_found(metrics)} It has not been fine-tuned and tested yet."
    if is_number(before.get("test_accuracy")):
        return f"The unpruned network classifies {_right(metrics, before)}. Nothing is pruned yet."
    return "Nothing has been pruned or measured yet."


def _outcome(metrics: Metrics) -> str:
    """What was pruned away, and what that did to the accuracy on the test images."""
    before, after = section(metrics, "results", "before"), section(metrics, "results", "after")
    share = _share(after.get("flops"), before.get("flops"))
    text = "Pruned" + (f" to {share}" if share else "")
    if section(metrics, "training", "finetune"):
        epochs = len(section(metrics, "training", "finetune", "history").get("loss") or [])
        text += " and fine-tuned" + (f" for {plural(epochs, 'epoch')}" if epochs else "")
    text += f", the network classifies {_right(metrics, after)}"
    if is_number(before.get("test_accuracy")):
        change = points(after["test_accuracy"] - before["test_accuracy"])
        kind = {"+": "a gain of", "-": "a loss of"}.get(change[0])
        text += f"; unpruned it was {percent(before['test_accuracy'])}, "
        text += f"{kind} {change[1:]}" if kind else "the same within 0.1 points"
    return f"{text}."


def _found(metrics: Metrics) -> str:
    """What the search has found, for a run that has come no further."""
    best, trials = winner(metrics), len(scored_trials(metrics))
    share = _share(best.get("flops"), section(metrics, "budget").get("flops_full"))
    text = f"The best of {trials:,} random candidates" if trials > 1 else "The only candidate"
    text += f", at {share}," if share else ""
    text += f" scores {candidate_score(metrics, best['score'])} on the holdout images"
    baseline = section(metrics, "search").get("baseline_score")
    if is_number(baseline):
        text += f"; the unpruned network scores {candidate_score(metrics, baseline)}"
    return f"{text}."


def candidate_score(metrics: Metrics, score: float) -> str:
    """A score of the search: in percent if it is an accuracy."""
    return percent(score) if is_accuracy(metrics) else f"{score:.4g}"


def latency_verdict(metrics: Metrics) -> str:
    """Whether the pruned network is faster, as a sentence; empty if it was not measured."""
    latency = section(metrics, "results", "latency_ratio")
    ratio, low, high = (latency.get(key) for key in ("ratio", "low", "high"))
    if not is_number(ratio):
        return ""
    details = _conditions(latency)
    if is_number(low) and is_number(high):
        details.insert(0, f"95 % interval {low:.2f} to {high:.2f}")
    else:
        low = high = ratio
    verdict = "faster" if high < 1 else "slower" if low > 1 else "not measurably faster"
    brackets = f" ({'; '.join(details)})" if details else ""
    return (
        f"The pruned network is {verdict} on this machine: an image takes {ratio:.2f} times as "
        f"long{brackets}."
    )


def histories(metrics: Metrics) -> dict[str, dict[str, list[float]]]:
    """What was measured in every epoch of each training, under a title for it."""
    titles = {"base": "Training of the unpruned network", "finetune": "Fine-tuning of the winner"}
    found = {}
    for name in section(metrics, "training"):
        history = section(metrics, "training", name, "history")
        keys = [key for key in ("accuracy", "val_accuracy", "loss", "val_loss") if history.get(key)]
        if keys:
            found[titles.get(name, name)] = {key: list(history[key]) for key in keys}
    return found


def trainings(metrics: Metrics) -> list[str]:
    """How long each training was and where it ended, one sentence each."""
    sentences = []
    for title, history in histories(metrics).items():
        epochs = max(map(len, history.values()))
        ends = [
            f"{percent(history[key][-1])} right on the {split} images"
            for key, split in (("accuracy", "training"), ("val_accuracy", "holdout"))
            if key in history and is_number(history[key][-1])
        ]
        text = f"{title}: {plural(epochs, 'epoch')}"
        sentences.append(f"{text}, at the end {' and '.join(ends)}." if ends else f"{text}.")
    return sentences


def method(metrics: Metrics) -> list[str]:
    """How the figures came about, in five sentences."""
    search = section(metrics, "search")
    trials = len(search.get("trials") or [])
    criterion = f" {search['criterion']}" if search.get("criterion") else ""
    holdout = f"{search['images_holdout']:,} " if search.get("images_holdout") else ""
    window = budget_window(metrics)
    total = f", and the whole takes {window} of the unpruned network's multiply-adds"
    repair = ""
    if search.get("images_calibration"):
        images = search["images_calibration"]
        repair = f", only repaired with {images:,} training images without their labels"
    return [
        f"The widths of {f'{trials:,} candidates' if trials > 1 else 'a candidate'} are drawn at "
        f"random: each group of coupled channels gets one of its own{total if window else ''}.",
        f"Inside a group, the criterion{criterion} decides which channels stay; a candidate "
        f"inherits their weights and is not trained before it is scored{repair}.",
        f"The winner is chosen on {holdout}holdout images, on which this run neither trains nor "
        "tests; as the best of many on the same images, its score there flatters it.",
        "The test images are used once, at the end, for the figures of the table.",
        "One multiply-add is one FLOP, counted for convolutions, dense layers and matrix products "
        "alone (no biases, normalisation, activations or pooling); latency is that of this machine "
        "and says little about another.",
    ]


def budget_ratio(metrics: Metrics) -> float | None:
    """The target of the budget as a ratio of the unpruned FLOPs, if it is known."""
    target, full = (section(metrics, "budget").get(key) for key in ("flops_target", "flops_full"))
    if isinstance(target, int):
        return target / full if full else None
    return target if is_number(target) else None


def budget_window(metrics: Metrics) -> str:
    """The budget as a share of the unpruned FLOPs: `50.0 % ± 0.5 %`; empty if it is not known."""
    target, tolerance = budget_ratio(metrics), section(metrics, "budget").get("tolerance")
    if target is None:
        return ""
    room = f" \N{PLUS-MINUS SIGN} {100 * tolerance:.3g} %" if is_number(tolerance) else ""
    return f"{percent(target)}{room}"


def _conditions(latency: Mapping[str, Any]) -> list[str]:
    """What the latency was measured with, as a list of no or one phrase."""
    if not latency.get("batch_size"):
        return []
    device = latency.get("device")
    return [f"batch of {latency['batch_size']}{f' on {device}' if device else ''}"]


def _right(metrics: Metrics, results: Mapping[str, Any]) -> str:
    images = section(metrics, "data").get("test")
    subject = f"the {images:,} test images" if images else "the test images"
    return f"{percent(results['test_accuracy'])} of {subject} correctly"


def _share(part: Any, whole: Any) -> str:
    known = is_number(part) and is_number(whole) and whole
    return f"{percent(part / whole)} of the multiply-adds" if known else ""
