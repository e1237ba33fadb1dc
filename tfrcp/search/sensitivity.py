"""How much each group of channels matters: scores against kept shares, group by group."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfrcp.search.options import check_options, parameters_of
from tfrcp.search.variants import RandomChannelSearch
from tfrcp.space.budget import Budget


@dataclasses.dataclass(frozen=True, eq=False)
class Sensitivity:
    """A table: what the network scores if one group alone is narrowed.

    Attributes:
        groups: Names of the groups, in forward order.
        ratios: Shares of its channels that a group keeps, float array [R], ascending.
        scores: Float array [groups, R]; NaN where the space does not allow it.
        unpruned: The score of the unpruned network.
        objective: Name of the objective.
        higher_is_better: Whether more is better.
    """

    groups: tuple[str, ...]
    ratios: np.ndarray
    scores: np.ndarray
    unpruned: float
    objective: str
    higher_is_better: bool

    def ranked(self) -> list[str]:
        """The groups, those that lose most at their narrowest first."""
        losses = (self.unpruned - self.scores) * (1 if self.higher_is_better else -1)
        order = np.argsort(-np.nan_to_num(np.nanmax(losses, axis=1)), kind="stable")
        return [self.groups[index] for index in order]

    def __str__(self) -> str:
        width = max(map(len, self.groups))
        lines = [
            f"{self.objective}: {self.unpruned:.4f} unpruned; with one group alone narrowed to",
            f"{'':{width}}" + "".join(f"{ratio:>10.0%}" for ratio in self.ratios),
        ]
        for name, row in zip(self.groups, self.scores, strict=True):
            cells = (f"{'-' if np.isnan(s) else format(s, '.4f'):>10}" for s in row)
            lines.append(f"{name:{width}}" + "".join(cells))
        return "\n".join(lines)

    def plot(self, path: str | None = None) -> Any:
        """Draws a line for each group.

        Args:
            path: File to save the picture in, if any.

        Returns:
            The `matplotlib.figure.Figure`.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = figure.subplots()
        for name, row in zip(self.groups, self.scores, strict=True):
            shares, values = np.append(self.ratios, 1.0), np.append(row, self.unpruned)
            axes.plot(shares[~np.isnan(values)], values[~np.isnan(values)], marker=".", label=name)
        axes.axhline(self.unpruned, color="black", lw=0.8, ls=":")
        axes.set(xlabel="kept share of one group's channels", ylabel=self.objective)
        axes.legend(fontsize="x-small", ncols=1 + len(self.groups) // 16)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure


def sensitivity(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    validation_data: Any,
    ratios: Sequence[float] = (0.25, 0.5, 0.75),
    criterion: Any = "auto",
    objective: Any = "auto",
    verbose: bool = True,
    **options: Any,
) -> Sensitivity:
    """Scores the network with each group narrowed in turn, the others whole; trains nothing.

    Args:
        model: A built, trained Functional or Sequential `keras.Model`. It is not changed.
        x: Training data, as for `tfrcp.prune`.
        y: Labels, where `x` is an array.
        validation_data: Holdout data, likewise.
        ratios: Shares of its channels that a group keeps, each in (0, 1).
        criterion: Says which channels; see `tfrcp.GuidedChannelSearch`.
        objective: See `tfrcp.RandomChannelSearch`.
        verbose: Whether to show progress.
        **options: Further arguments of `tfrcp.RandomChannelSearch`, such as
            `reconstruction`.

    Returns:
        `Sensitivity`, which prints as a table and has `plot`.

    Raises:
        ValueError: If an argument is wrong.
        TypeError: If there is no such option, with the nearest one.
    """
    check_options("tfrcp.sensitivity", options, RandomChannelSearch, own=parameters_of(sensitivity))
    shares = np.unique(np.asarray(ratios, dtype=float))
    if not shares.size or not ((shares > 0) & (shares < 1)).all():
        raise ValueError(f"`ratios` must be numbers in (0, 1). Received: ratios={ratios!r}")
    with tempfile.TemporaryDirectory() as folder:
        tuner = RandomChannelSearch(
            model,
            criterion=criterion,
            objective=objective,
            budget=Budget(1.0, tolerance=0.999),
            max_trials=1,
            racing=False,
            directory=folder,
            **options,
        )
        tuner.prepare(x, y, validation_data=validation_data, verbose=verbose)
    graph, full = tuner.graph, tuner.graph.full
    scores = np.full((len(full), len(shares)), np.nan)
    progress = keras.utils.Progbar(scores.size, verbose=int(verbose), unit_name="network")
    for column, size in enumerate(full):
        for index, share in enumerate(shares):
            vector = full.copy()
            vector[column] = max(1, round(share * size))
            if vector[column] < size:
                scores[column, index] = tuner.evaluator.score(vector).value
            progress.add(1)
    return Sensitivity(
        tuple(group.name for group in graph.prunable),
        shares,
        scores,
        tuner.evaluator.score_model(model),
        tuner.objective.name,
        tuner.objective.higher_is_better,
    )
