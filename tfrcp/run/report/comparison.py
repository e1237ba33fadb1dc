"""Before and after: the table of a run, and what of the saving is realised as speed-up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfrcp.run.report.reading import (
    ACCURACY,
    Metrics,
    Score,
    change,
    is_number,
    objective,
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
    found = _rows(section(metrics, "results"), tests)
    for title, file in files(metrics):
        measured = _rows(file, checks)
        found += [(f"{title}: {label}", *cells) for label, *cells in measured]
    return found


def files(metrics: Metrics) -> list[tuple[str, Mapping[str, Any]]]:
    """The exported files: titles, and what is known of each."""
    found = section(metrics, "export").items()
    return [(file.get("title") or name, file) for name, file in found if file]


def _rows(results: Mapping[str, Any], scores: Mapping[str, tuple[Score, str]]) -> list[Row]:
    """Rows of one pair, the networks or their files; `scores` by key, with their labels."""
    before, after = section(results, "before"), section(results, "after")
    latency = section(results, "latency_ratio")
    columns = {
        **{key: (label, score.text) for key, (score, label) in scores.items()},
        "flops": ("MACs per image", count),
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
        elif key in scores and all(known):
            comparison = scores[key][0].change(*values)
        elif all(known) and values[0]:
            comparison = f"{values[1] / values[0]:.3f}"
        cells = [text(value) if ok else "" for value, ok in zip(values, known, strict=True)]
        found.append((label, cells[0], cells[1], comparison))
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
    place, pair = "in TensorFlow", section(metrics, "results")
    for name in _LEADS:
        file = section(metrics, "export", name)
        if is_number(section(file, "latency_ratio").get("ratio")):
            place, pair = f"in {file.get('title') or name}", file
            break
    time = section(pair, "latency_ratio")
    time = tuple(time.get(key) for key in ("ratio", "low", "high"))
    return verdict(
        score=score,
        time=time if all(map(is_number, time)) else None,
        place=place,
        size=_ratio(pair, "bytes"),
        macs=_ratio(section(metrics, "results"), "flops"),
    )


def _ratio(pair: Mapping[str, Any], key: str) -> float | None:
    """After / before of a figure, if both are known."""
    before, after = (section(pair, when).get(key) for when in ("before", "after"))
    return after / before if is_number(before) and is_number(after) and before else None


def saving(metrics: Metrics) -> str:
    """How much of the saving in MACs is realised as speed-up, a sentence; empty if unknown."""
    share = [section(metrics, "results", when).get("flops") for when in ("before", "after")]
    places = {"TensorFlow, the Keras model": section(metrics, "results", "latency_ratio")}
    for title, file in files(metrics):
        places[title] = section(file, "latency_ratio")
    ratios = {title: found["ratio"] for title, found in places.items() if found.get("ratio")}
    if not (all(map(is_number, share)) and share[0] > share[1]) or not ratios:
        return ""
    expected = 1 - share[1] / share[0]
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


def _conditions(latency: Mapping[str, Any]) -> list[str]:
    """What the latency was measured with, as a list of no or one phrase."""
    if not latency.get("batch_size"):
        return []
    device = latency.get("device")
    return [f"batch of {latency['batch_size']}{f' on {device}' if device else ''}"]
