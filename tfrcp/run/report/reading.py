"""What `metrics.json` holds, where any of it may be missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfrcp.run.figures import Pair, Trial, number
from tfrcp.scoring.verdict import Change
from tfrcp.units import points, score

Metrics = Mapping[str, Any]


def section(metrics: Metrics, *keys: str) -> Mapping[str, Any]:
    """The mapping under `keys`; empty where one of them is missing or null."""
    for key in keys:
        metrics = metrics.get(key) or {}
    return metrics


def number_at(metrics: Metrics, *keys: str) -> float | None:
    """The finite number under `keys`, if there is one."""
    return number(section(metrics, *keys[:-1]).get(keys[-1]))


def scored_trials(metrics: Metrics) -> list[Trial]:
    """The trials with a score, in their order."""
    trials = map(Trial.of, section(metrics, "search").get("trials") or [])
    return [trial for trial in trials if trial.score is not None]


def winner(metrics: Metrics) -> Trial | None:
    """The best trial, if it is named and has a score."""
    best = section(metrics, "search").get("best")
    return next((trial for trial in scored_trials(metrics) if trial.id == best), None)


def results(metrics: Metrics) -> Pair:
    """The unpruned and the pruned network, as they were tested."""
    return Pair.of(section(metrics, "results"))


@dataclasses.dataclass(frozen=True)
class Score:
    """What the scores of a run are.

    Attributes:
        name: Name of the figure, such as "accuracy", "loss" or "mean_io_u".
        label: What it is called in prose, such as "mean IoU".
        higher_is_better: Bool.
    """

    name: str
    label: str
    higher_is_better: bool

    @property
    def is_share(self) -> bool:
        """Whether it is a share of the images, and so shown in percent."""
        return self.name.endswith("accuracy") or self.name == "agreement"

    def text(self, value: float) -> str:
        """A score as text."""
        return score(value, self.is_share)

    def change(self, before: float, after: float) -> str:
        """What became of a score: `-0.3 points`, or a ratio."""
        if self.is_share:
            return points(after - before)
        return f"{after / before:.3f}" if before else ""


ACCURACY = Score("accuracy", "accuracy", True)


def objective(metrics: Metrics) -> Score:
    """What the candidates are scored by."""
    found = section(metrics, "objective")
    name = found.get("name") or section(metrics, "search").get("objective") or "val_accuracy"
    name = name.removeprefix("val_")
    direction = found.get("direction") or ("min" if name.endswith("loss") else "max")
    return Score(name, found.get("label") or name.replace("_", " "), direction == "max")


def tested(metrics: Metrics) -> Score:
    """What the networks are tested by: their accuracy where they are classifiers."""
    pair = results(metrics)
    classifier = any("test_accuracy" in found.scores for found in (pair.before, pair.after))
    return ACCURACY if classifier else objective(metrics)


def change(metrics: Metrics) -> Change | None:
    """What became of the score on the test images, if the pruned network was tested."""
    score, pair = tested(metrics), results(metrics)
    key = f"test_{score.name}"
    before, after = (found.scores.get(key) for found in (pair.before, pair.after))
    if after is None:
        return None
    low, high = (
        number_at(metrics, "results", "score_changes", key, end) for end in ("low", "high")
    )
    return Change(score.label, before, after, low, high, is_share=score.is_share)


def is_accuracy(metrics: Metrics) -> bool:
    """Whether the search's scores are fractions of right answers."""
    return objective(metrics).name.endswith("accuracy")


def budget_ratio(metrics: Metrics) -> float | None:
    """The target of the budget as a ratio of the unpruned FLOPs, if it is known."""
    target, full = (section(metrics, "budget").get(key) for key in ("flops_target", "flops_full"))
    if isinstance(target, int):
        return target / full if full else None
    return number(target)


def baseline_name(metrics: Metrics) -> str:
    """What the network is called whose score stands beside the candidates'."""
    return "whole supernet" if section(metrics, "scratch") else "unpruned"


def baseline_ratio(metrics: Metrics) -> float:
    """Its MACs as a ratio of the unpruned, or from scratch the original, network's."""
    full = section(metrics, "budget").get("flops_full")
    own = section(metrics, "scratch").get("supernet_flops")
    return own / full if own and full else 1.0


def histories(metrics: Metrics) -> dict[str, dict[str, list[float]]]:
    """What was measured in every epoch of each training, under a title for it."""
    titles = {
        "base": "Training of the unpruned network",
        "finetune": "Fine-tuning of the winner",
        "winner": "Training of the winner",
    }
    found = {}
    for name in section(metrics, "training"):
        history = section(metrics, "training", name, "history")
        keys = [
            key
            for figure in dict.fromkeys(("accuracy", objective(metrics).name, "loss"))
            for key in (figure, f"val_{figure}")
            if history.get(key)
        ]
        if keys and name != "supernet":  # whose widths have a picture of their own
            found[titles.get(name, name)] = {key: list(history[key]) for key in keys}
    return found
