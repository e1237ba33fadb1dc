"""What a network scores at several costs, and the cheapest one within an allowed drop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tfrcp.arguments import check_number
from tfrcp.scoring.objectives import Objective
from tfrcp.search.task import BUDGET
from tfrcp.search.tuner import ChannelSearch
from tfrcp.search.winner import winner_of

_STEPS = 5  # bisections: the cost is found to a 32nd of the range


@dataclasses.dataclass(frozen=True, eq=False)
class Point:
    """A network of a trade-off.

    Attributes:
        flops: Share of the unpruned network's MACs.
        params: Share of its weights.
        score: On the holdout images, before any fine-tuning.
        channels: Kept channels, dict from group name to int.
        model: The network; `None` for the unpruned one.
    """

    flops: float
    params: float
    score: float
    channels: dict[str, int]
    model: keras.Model | None


@dataclasses.dataclass(frozen=True, eq=False)
class Tradeoff:
    """A table: scores against costs, the unpruned network first.

    Attributes:
        points: Tuple of `Point`, the costliest first.
        objective: Name of the objective.
    """

    points: tuple[Point, ...]
    objective: str

    def __str__(self) -> str:
        lines = [f"{'MACs':>14}{'weights':>10}{self.objective:>16}"]
        for point in self.points:
            lines.append(f"{point.flops:>14.1%}{point.params:>10.1%}{point.score:>16.4f}")
        return "\n".join(lines)

    def plot(self, path: str | None = None) -> Any:
        """Draws the score against the MACs.

        Args:
            path: File to save the picture in, if any.

        Returns:
            The `matplotlib.figure.Figure`.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        axes.plot([p.flops for p in self.points], [p.score for p in self.points], marker="o")
        axes.annotate("unpruned", (self.points[0].flops, self.points[0].score), ha="right")
        axes.set(xlabel="share of the MACs", ylabel=self.objective, xlim=(0, 1.05))
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure


def tradeoff_of(
    kind: type[ChannelSearch],
    model: keras.Model,
    x: Any,
    y: Any,
    *,
    validation_data: Any,
    flops: Sequence[float],
    directory: str,
    verbose: bool,
    options: dict[str, Any],
) -> Tradeoff:
    """What `tfrcp.tradeoff` does, with a search of a given class."""
    wrong = [share for share in flops if not (isinstance(share, float) and 0 < share < 1)]
    if wrong or not len(flops):
        raise ValueError(f"`flops` must be floats in (0, 1). Received: flops={flops!r}")
    points: list[Point] = []
    search = _Searches(kind, model, x, y, validation_data, directory, verbose)
    for share in sorted(set(flops), reverse=True):
        points.append(search(share, options))
        if verbose:
            print(f"tradeoff: {share:.1%} of the MACs: {points[-1].score:.4f}")
    unpruned = Point(1.0, 1.0, search.unpruned, search.full, None)
    return Tradeoff((unpruned, *points), search.objective.name)


def prune_within(
    kind: type[ChannelSearch],
    model: keras.Model,
    x: Any,
    y: Any,
    *,
    validation_data: Any,
    max_drop: float,
    directory: str,
    verbose: bool,
    options: dict[str, Any],
) -> tuple[keras.Model, Objective]:
    """The cheapest network whose score falls by no more than `max_drop`, by bisection."""
    check_number("max_drop", max_drop, "[0, inf)")
    given = [name for name in (*BUDGET, "budget", "sampler") if options.get(name) is not None]
    given = [name for name in given if name != "tolerance"]
    if given:
        raise ValueError(
            f"`max_drop` finds the cost itself: give it without `{given[0]}`. "
            f"Received: {given[0]}={options[given[0]]!r}"
        )
    options = {name: value for name, value in options.items() if name not in BUDGET} | {
        "tolerance": options.get("tolerance", 0.005)
    }
    best, high, tried = None, 1.0, []
    search = _Searches(kind, model, x, y, validation_data, directory, verbose)
    low = search.least(options)
    for _ in range(_STEPS):
        share = round((low + high) / 2, 4)
        point = search(share, options)
        tried.append(f"{point.score:.4f} at {share:.1%}")
        sign = 1 if search.objective.higher_is_better else -1
        drop = sign * (search.unpruned - point.score)
        if drop <= max_drop:
            best, high = point, share
        else:
            low = share
        if verbose:
            fits = "within" if drop <= max_drop else "more than"
            print(
                f"max_drop: {share:.1%} of the MACs: {search.objective.name} falls by "
                f"{drop:.4f}, {fits} {max_drop:g}",
                flush=True,
            )
    if best is None:
        raise ValueError(
            f"No pruned network keeps {search.objective.name} within max_drop={max_drop:g} of the "
            f"unpruned {search.unpruned:.4f}: {'; '.join(tried)} of the MACs. Allow "
            "more; what is lost before fine-tuning is mostly won back by it"
        )
    return best.model, search.objective


class _Searches:
    """Searches of one network under several budgets."""

    def __init__(
        self,
        kind: Callable[..., ChannelSearch],
        model: keras.Model,
        x: Any,
        y: Any,
        validation_data: Any,
        directory: str,
        verbose: bool,
    ) -> None:
        self._kind, self._model, self._data = kind, model, (x, y, validation_data)
        self._directory, self._verbose = directory, verbose
        self.unpruned, self.objective, self.full = float("nan"), None, {}

    def least(self, options: dict[str, Any]) -> float:
        """The least share of the MACs that the space reaches."""
        tuner = self._made(1.0, {**options, "tolerance": 0.999, "max_trials": 1}, "reach")
        return float(tuner.cost(tuner.space.smallest).flops[0] / tuner.cost.full.flops)

    def __call__(self, flops: float, options: dict[str, Any]) -> Point:
        tuner = self._made(flops, options, f"search_{flops:g}")
        tuner.refuses_guessing = "rescaling"
        x, y, validation_data = self._data
        tuner.search(x, y, validation_data=validation_data, verbose=self._verbose)
        found = winner_of(tuner, verbose=self._verbose)
        self.objective = tuner.objective
        if np.isnan(self.unpruned):
            self.unpruned = tuner.evaluator.score_model(self._model)
            self.full = {group.name: group.size for group in tuner.graph.prunable}
        vector = tuner.channels_of(found.trial)
        costs, full = tuner.cost(vector), tuner.cost.full
        return Point(
            int(costs.flops[0]) / full.flops,
            int(costs.params[0]) / full.params,
            found.score,
            dict(zip(self.full, vector.tolist(), strict=True)),
            found.model,
        )

    def _made(self, flops: float, options: dict[str, Any], name: str) -> ChannelSearch:
        return self._kind(
            self._model, flops, directory=self._directory, project_name=name, **options
        )
