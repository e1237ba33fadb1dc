"""Pictures of the search: how its candidates scored, and what they cost.

Each function draws one picture, or returns None where the run has not come that far.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfrcp.run.report.drawing import (
    BLACK,
    BLUE,
    ORANGE,
    PALE,
    PALE_BLUE,
    WIDTH,
    limits,
    percent_ticks,
)
from tfrcp.run.report.reading import (
    Metrics,
    baseline_name,
    baseline_ratio,
    budget_ratio,
    is_accuracy,
    number_at,
    objective,
    scored_trials,
    section,
    winner,
)
from tfrcp.run.report.summary import budget_window, candidate_score
from tfrcp.units import count


def scores(metrics: Metrics) -> Figure | None:
    """The distribution of the candidates' scores, with median, winner and unpruned network."""
    values = np.array([trial.score for trial in scored_trials(metrics)])
    if len(values) < 3:  # No distribution to show.
        return None
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.add_subplot()
    best, baseline = winner(metrics), number_at(metrics, "search", "baseline_score")
    bins = _bins(metrics, values)
    marks = [("median", float(np.median(values)), BLUE)]
    marks += [("winner", best.score, ORANGE)] if best else []
    low, high = limits(bins)
    name, beyond = baseline_name(metrics), False
    if baseline is not None:
        # Drawn to scale, a baseline far away would squeeze all candidates into a corner.
        reach = 1.5 * (high - low)
        beyond = not low - reach <= baseline <= high + reach
        if not beyond:
            marks.append((name, baseline, BLACK))
            low, high = limits([*bins, baseline])
    axes.hist(values, bins, color=PALE_BLUE, edgecolor="white", linewidth=0.6)
    top = axes.get_ylim()[1]
    axes.set(xlim=(low, high), ylim=(0, 1.6 * top), ylabel="candidates")
    for mark, height in zip(marks, (1.12, 1.26, 1.4), strict=False):
        label, value, color = mark
        side = 1 if value < (low + high) / 2 else -1
        axes.plot([value, value], [0, height * top], color=color, linewidth=1.5)
        axes.annotate(
            f"{label} {candidate_score(metrics, value)}",
            (value, height * top),
            xytext=(5 * side, 0),
            textcoords="offset points",
            horizontalalignment="left" if side > 0 else "right",
            verticalalignment="center",
            color=color,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        )
    if beyond:
        text = f"{name} {candidate_score(metrics, baseline)}"
        right = baseline > high
        axes.text(
            1.0 if right else 0.0,
            1.0,
            f"{text} \N{RIGHTWARDS ARROW}" if right else f"\N{LEFTWARDS ARROW} {text}",
            transform=axes.transAxes,
            horizontalalignment="right" if right else "left",
            verticalalignment="top",
        )
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= top])
    axes.spines["left"].set_bounds(0, top)
    axes.set_xlabel(_score_axis(metrics, axes.xaxis))
    how = "before fine-tuning" if name == "unpruned" else "on the supernet's weights"
    axes.set_title(f"{len(values):,} candidates, scored {how}")
    return figure


def accuracy_flops(metrics: Metrics) -> Figure | None:
    """Score against MACs: beside the unpruned network, and the budget enlarged."""
    full = section(metrics, "budget").get("flops_full")
    trials = [trial for trial in scored_trials(metrics) if trial.flops is not None]
    if not trials or not full:
        return None
    x = np.array([trial.flops / full for trial in trials])
    y = np.array([trial.score for trial in trials])
    baseline = number_at(metrics, "search", "baseline_score")
    target, tolerance = budget_ratio(metrics), number_at(metrics, "budget", "tolerance")
    window = []
    if target is not None and tolerance is not None:
        window = [target - tolerance, target + tolerance]
    best, name, whole = winner(metrics), baseline_name(metrics), baseline_ratio(metrics)
    figure = Figure(figsize=(WIDTH, 3.7), layout="constrained")
    panels = figure.subplots(1, 1 if baseline is None else 2, squeeze=False)[0]
    for axes in panels:
        if window:
            axes.axvspan(*window, color=PALE, zorder=0, linewidth=0)
        axes.scatter(x, y, 16, color=BLUE, alpha=0.8 if len(x) < 200 else 0.35, linewidths=0)
        if best and best.flops is not None:
            point = best.flops / full, best.score
            axes.scatter(*point, 50, color=ORANGE, marker="D", edgecolors="white", zorder=5)
        axes.xaxis.set_major_formatter(percent_ticks())
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        label = _score_axis(metrics, axes.yaxis)
    panels[0].set_ylabel(label)
    near = panels[-1]
    near.set(xlim=limits([*x, *window], 0.1), ylim=limits(y, 0.16))
    near.set_title(f"Budget (grey): {budget_window(metrics)}" if window else "Enlarged")
    if best and best.flops is not None:
        above = best.score >= np.median(y)
        side = 1 if point[0] < sum(near.get_xlim()) / 2 else -1
        near.annotate(
            f"winner {candidate_score(metrics, best.score)}",
            point,
            xytext=(-6 * side, 10 if above else -10),
            textcoords="offset points",
            horizontalalignment="left" if side > 0 else "right",
            verticalalignment="bottom" if above else "top",
            color=ORANGE,
        )
    if baseline is not None:
        panels[0].scatter(whole, baseline, 50, color=BLACK, marker="s", zorder=5)
        above = baseline >= np.median(y)
        panels[0].annotate(
            f"{name} {candidate_score(metrics, baseline)}",
            (whole, baseline),
            xytext=(6, 8 if above else -8),
            textcoords="offset points",
            horizontalalignment="right",
            verticalalignment="bottom" if above else "top",
        )
        panels[0].set(xlim=(0.0, 1.06 * max(whole, 1.0)), ylim=limits([*y, baseline], 0.12))
        panels[0].set_title(
            "Candidates and " + ("unpruned network" if name == "unpruned" else name)
        )
    figure.supxlabel(f"MACs per image, share of the unpruned {count(full)}", fontsize=9.5)
    return figure


def _score_axis(metrics: Metrics, axis: Any) -> str:
    """Sets the ticks of an axis that shows scores; returns its label."""
    score = objective(metrics)
    if score.is_share:
        axis.set_major_formatter(percent_ticks())
    return f"{score.label} on the holdout images"


def _bins(metrics: Metrics, values: np.ndarray) -> np.ndarray:
    """Edges of the bins; for accuracies in whole images, else bins hold unequally many values."""
    low, high = values.min(), values.max()
    width = (high - low) / math.ceil(2 * len(values) ** (1 / 3)) or 0.001 * max(abs(low), 1e-9)
    images = section(metrics, "search").get("images_holdout")
    if is_accuracy(metrics) and images:
        width = max(1, round(width * images)) / images
        low -= 0.5 / images
    return np.arange(low, high + width, width)
