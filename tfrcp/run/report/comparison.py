"""Before and after: the table of a run, and what of the saving is realised as speed-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tfrcp.run.figures import LatencyRatio, Pair
from tfrcp.run.report.reading import (
    ACCURACY,
    Metrics,
    Score,
    change,
    objective,
    results,
    section,
)
from tfrcp.scoring.verdict import verdict
from tfrcp.units import aligned, count, percent, size

Row = tuple[str, str, str, str]


def rows(metrics: Metrics) -> list[Row]:
    """The before/after table: quantity with its unit, before, after, and how they compare.

    First the networks, then the files that were exported. What was measured neither before nor
    after has no row.
    """
    kinds = {score.name: score for score in (ACCURACY, objective(metrics))}
    tests = {f"test_{name}": (score, f"test {score.label}") for name, score in kinds.items()}
    checks = {name: (score, f"holdout {score.label}") for name, score in kinds.items()}
    found = _rows(results(metrics), tests)
    for title, file in files(metrics).items():
        measured = _rows(file, checks)
        found += [(f"{title}: {label}", *cells) for label, *cells in measured]
    return found


def files(metrics: Metrics) -> dict[str, Pair]:
    """The exported files by title."""
    found = {name: Pair.of(file) for name, file in section(metrics, "export").items() if file}
    return {pair.title or name: pair for name, pair in found.items()}


def _rows(pair: Pair, scores: Mapping[str, tuple[Score, str]]) -> list[Row]:
    """Rows of one pair, the networks or their files; `scores` by key, with their labels."""
    found: list[Row] = []

    def add(label: str, text: Callable[[float], str], values: Any, comparison: str) -> None:
        if any(value is not None for value in values):
            cells = ("" if value is None else text(value) for value in values)
            found.append((label, *cells, comparison))

    for key, (score, label) in scores.items():
        values = [figures.scores.get(key) for figures in (pair.before, pair.after)]
        add(label, score.text, values, "" if None in values else score.change(*values))
    latency = pair.latency_ratio
    for key, label, text in (
        ("flops", "MACs per image", count),
        ("params", "parameters", count),
        ("activations", "activations per image", count),
        ("bytes", "size on disk", size),
        ("latency_ms", f"latency per image{_conditions(latency)}", "{:.3g} ms".format),
    ):
        ratio = pair.ratio(key)
        comparison = "" if ratio is None else f"{ratio:.3f}"
        if key == "latency_ms" and latency.ratio is not None:
            comparison = f"{latency.ratio:.2f}"
            if latency.interval:
                comparison += f" ({latency.low:.2f} to {latency.high:.2f})"
        add(label, text, (getattr(pair.before, key), getattr(pair.after, key)), comparison)
    return found


_LEADS = ("litert", "onnx", "litert_int8", "litert_dynamic", "litert_float16", "tf_saved_model")


def lead(metrics: Metrics) -> str:
    """The verdict in one sentence: time, size and score; empty before the network is tested.

    Time and size are those of the first file in the order of `_LEADS` (what runs on a device before
    what does not), or else of the Keras model: never of the one that looks best.
    """
    score = change(metrics)
    if score is None:
        return ""
    networks = results(metrics)
    place, pair = "in TensorFlow", networks
    for name in _LEADS:
        file = Pair.of(section(metrics, "export", name))
        if file.latency_ratio.ratio is not None:
            place, pair = f"in {file.title or name}", file
            break
    return verdict(
        score=score,
        time=pair.latency_ratio.interval,
        place=place,
        size=pair.ratio("bytes"),
        macs=networks.ratio("flops"),
    )


def saving(metrics: Metrics) -> str:
    """How much of the saving in MACs is realised as speed-up, a sentence; empty if unknown."""
    networks = results(metrics)
    places = {"TensorFlow, the Keras model": networks, **files(metrics)}
    ratios = {title: r for title, p in places.items() if (r := p.latency_ratio.ratio)}
    share = networks.ratio("flops")
    if share is None or share >= 1 or not ratios:
        return ""
    expected = 1 - share
    parts = [
        f"{percent(1 - ratio) if ratio < 1 else 'nothing'} in {title}"
        for title, ratio in ratios.items()
    ]
    text = f"Of the MACs {percent(expected)} are saved, of the time {', '.join(parts)}"
    best = min(ratios, key=ratios.get)
    realised = (1 - ratios[best]) / expected
    if realised < 0.8:
        return (
            f"{text}: less than four fifths of the saving are realised as speed-up on this "
            "machine. Channel counts in multiples of 8 may bring more; `tfrcp profile --measure` "
            "measures it."
        )
    return (
        f"{text}: at best, in {best}, {percent(realised)} of the saving are realised as speed-up."
    )


def table(metrics: Metrics) -> str:
    """The before/after table as plain text for the terminal; empty if nothing was measured."""
    body = rows(metrics)
    if not body:
        return ""
    head = ("", "before", "after", "after / before")
    note = f"One multiply-add (MAC) is one FLOP. {saving(metrics)}".rstrip()
    return "\n\n".join(filter(None, [lead(metrics), aligned([head, *body]), note]))


def _conditions(latency: LatencyRatio) -> str:
    """What the latency was measured with, where it is known."""
    if not latency.batch_size:
        return ""
    return f", batch of {latency.batch_size}{f' on {latency.device}' if latency.device else ''}"
