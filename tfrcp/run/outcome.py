"""The figures of a stage in one line, for scripts."""

from __future__ import annotations

from typing import Any

from tfrcp.run.figures import Pair, Stage, Trial


def outcome(stage: str, metrics: dict[str, Any]) -> dict[str, Any]:
    """The figures of a stage; scores by the name of their metric, ratios in [0, 1]."""
    seconds = {entry.name: entry.seconds for entry in map(Stage.of, metrics["stages"])}
    found = {
        "train": _training,
        "finetune": _training,
        "supernet": _training,
        "search": _search,
        "export": _export,
    }.get(stage, _results)(stage, metrics)
    total = sum(value or 0 for value in seconds.values())
    return {"stage": stage, **found, "seconds": seconds.get(stage, round(total, 1))}


def _training(stage: str, metrics: dict[str, Any]) -> dict[str, Any]:
    name = stage
    if stage == "train":  # the base, or from scratch the winner
        name = next(name for name in ("winner", "base") if name in metrics["training"])
    history = metrics["training"][name]["history"]
    objective = metrics.get("objective") or {"name": "val_accuracy", "direction": "max"}
    key = objective["name"] if history.get(objective["name"]) else "val_accuracy"
    key = key if history.get(key) or "val_loss" not in history else "val_loss"
    scores = history.get(key, [])
    best = min if key == "val_loss" or objective["direction"] == "min" else max
    chosen = best if metrics["config"][stage].get("keep_best") else _last
    figure = f"holdout_{key.removeprefix('val_')}"
    return {"epochs": len(history["loss"]), figure: chosen(scores) if scores else None}


def _last(values: list[float]) -> float:
    return values[-1]


def _search(stage: str, metrics: dict[str, Any]) -> dict[str, Any]:
    search, full = metrics["search"], metrics["budget"]["flops_full"]
    best = next(t for t in map(Trial.of, search["trials"]) if t.id == search["best"])
    return {
        "candidates": len(search["trials"]),
        "holdout_score": best.score,
        "flops_ratio": best.flops / full,
        "params": best.params,
    }


def _export(stage: str, metrics: dict[str, Any]) -> dict[str, Any]:
    return {"files": {name: entry["path"] for name, entry in metrics["export"].items()}}


def _results(stage: str, metrics: dict[str, Any]) -> dict[str, Any]:
    pair = Pair.of(metrics["results"])
    ratios = {
        "flops_ratio": pair.ratio("flops"),
        "params_ratio": pair.ratio("params"),
        "latency_ratio": pair.latency_ratio.ratio,
    }
    if None in ratios.values():
        raise LookupError(f"figures of 'results' are missing: {ratios}")
    return {
        **pair.after.scores,
        **{f"{name}_before": pair.before.scores.get(name) for name in pair.after.scores},
        **ratios,
    }
