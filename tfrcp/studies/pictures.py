"""Pictures of the studies; each function draws one, or returns `None` where nothing is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from tfrcp.run.report.drawing import (
    BLUE,
    GREY,
    ORANGE,
    PALE,
    PALE_BLUE,
    WIDTH,
    limits,
    percent_ticks,
)
from tfrcp.studies.tables import Pool, Row
from tfrcp.studies.texts import Texts

_GREEN, _PINK = "#009E73", "#CC79A7"
_COLORS = (ORANGE, BLUE, _GREEN, _PINK, GREY)
_VERDICT_COLORS = {"better": _GREEN, "worse": _PINK, "equivalent": BLUE, "undecided": GREY}
_AFTER = "accuracy on the test images after fine-tuning"


def effects(title: str, rows: Sequence[Row], texts: Texts) -> Figure | None:
    """Difference of every row from random search beside the margins, a panel for each target.

    Args:
        title: What is compared.
        rows: The rows of a study.
        texts: Names them.
    """
    targets = list(dict.fromkeys(row.setting.flops for row in rows))
    panels = [
        [row for row in rows if row.setting.flops == target and row.verdict] for target in targets
    ]
    if not any(panels):
        return None
    names = list(dict.fromkeys(texts.label(row) for row in rows if not texts.is_baseline(row)))
    figure = Figure(figsize=(WIDTH, 1.9 + 0.25 * len(names)), layout="constrained")
    axes = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    for place, target, panel in zip(axes, targets, panels, strict=True):
        for margin in texts.margins:
            place.axvspan(-margin, margin, color=GREY, alpha=0.15, linewidth=0, zorder=0)
        place.axvline(0, color=ORANGE, linewidth=1, zorder=1)
        for row in panel:
            y, found = names.index(texts.label(row)), row.difference
            color = _verdict_color(row)
            place.plot(
                [100 * found.low, 100 * found.high], [y, y], color=color, linewidth=1.6, zorder=3
            )
            place.plot(100 * found.mean, y, "o", color=color, markersize=5, zorder=4)
        place.set_title(f"{100 * target:g} % of the MACs")
        place.set_xlabel("percentage points")
        place.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        place.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:+g}" if value else "0")
        )
        place.grid(axis="y", color=PALE, linewidth=0.6)
        place.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    marks = [
        Line2D([], [], color=color, marker="o", markersize=5, label=text)
        for text, color in _VERDICT_COLORS.items()
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=4, frameon=False)
    margins = " and ".join(f"{margin:g}" for margin in texts.margins)
    figure.suptitle(
        f"{title}\ntest accuracy less {texts.baseline}: mean, 95 % interval; "
        f"shaded: ± {margins} points",
        x=0.01,
        horizontalalignment="left",
        fontsize=9.5,
    )
    return figure


def _verdict_color(row: Row) -> str:
    direction, within = row.verdict.direction, row.verdict.within
    if within is not None:
        return _VERDICT_COLORS["equivalent"]
    return _VERDICT_COLORS[("undecided", "better", "worse")[direction]]


def epochs(title: str, rows: Sequence[Row], labels: Mapping[str, str]) -> Figure | None:
    """Accuracy against epochs of fine-tuning, a curve for each allocation."""
    done = [row for row in rows if row.test]
    if not done:
        return None
    numbers = sorted({row.setting.epochs for row in rows})
    names = list(dict.fromkeys(row.setting.allocation for row in rows))
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for index, (name, color) in enumerate(zip(names, _COLORS, strict=False)):
        own = [row for row in done if row.setting.allocation == name]
        x = np.array([numbers.index(row.setting.epochs) for row in own])
        shift = 0.06 * (index - (len(names) - 1) / 2)
        mean, low, high = (
            np.array([getattr(row.test, part) for row in own]) for part in ("mean", "low", "high")
        )
        axes.errorbar(
            x + shift,
            mean,
            [mean - low, high - mean],
            color=color,
            marker="o",
            markersize=4.5,
            capsize=2.5,
            linewidth=1.3,
            label=labels[name],
        )
    axes.set_xticks(range(len(numbers)), [str(number) for number in numbers])
    axes.yaxis.set_major_formatter(percent_ticks())
    axes.set(xlabel="epochs of fine-tuning", ylabel=_AFTER, title=title)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.legend(frameon=False, title="mean and 95 % interval")
    return figure


def samples(title: str, rows: Sequence[Row], pool: Pool | None) -> Figure | None:
    """Expected accuracy of the best of m draws: of the pool, and of searches."""
    if pool is None and not any(row.test for row in rows):
        return None
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_title("before fine-tuning")
    right.set_title("after fine-tuning, on the test images")
    if pool is not None:
        for axes, (mean, low, high), color in (
            (left, pool.best_before, BLUE),
            (right, pool.best_after, ORANGE),
        ):
            axes.plot(pool.counts, mean, color=color, label=f"pool of {len(pool.after)}")
            held = ~np.isnan(low)
            if not held.any():
                continue
            axes.errorbar(
                pool.counts[held],
                mean[held],
                [mean[held] - low[held], high[held] - mean[held]],
                fmt="none",
                color=color,
                capsize=2,
                label="its 95 % interval, where it holds",
            )
    for axes, name in ((left, "before"), (right, "test")):
        found = [(row.setting.samples, getattr(row, name)) for row in rows if row.test]
        x, means = [count for count, _ in found], [value for _, value in found]
        mean = np.array([value.mean for value in means])
        reach = [[v.mean - v.low for v in means], [v.high - v.mean for v in means]]
        label = f"searches, {max(v.count for v in means)} seeds, 95 % interval" if means else None
        axes.errorbar(
            x, mean, reach, fmt="s", color="#222222", markersize=4, capsize=2, label=label
        )
        axes.set_xscale("log")
        ticks = [
            m for m in (1, 2, 5, 10, 20, 50, 100) if m <= max([*x, len(pool.counts) if pool else 1])
        ]
        axes.set_xticks(ticks, [str(m) for m in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(percent_ticks())
        low, high = axes.get_ylim()
        axes.set_ylim(low - 0.3 * (high - low), high)  # room for the legend
        axes.legend(frameon=False, loc="lower right")
    left.set_ylabel("accuracy of the best-scored draw")
    figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=10.5)
    figure.supxlabel("m, the number of draws", fontsize=9.5)
    return figure


def pool(title: str, found: Pool | None) -> Figure | None:
    """The pool: accuracy after fine-tuning against the score before, and both distributions."""
    if found is None:
        return None
    figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
    grid = figure.subplots(
        2, 2, gridspec_kw={"width_ratios": (3, 1), "height_ratios": (1, 3)}, squeeze=False
    )
    axes = grid[1, 0]
    axes.scatter(found.scores, found.after, 20, color=BLUE, alpha=0.8, linewidths=0)
    axes.set(
        xlabel="accuracy before fine-tuning, holdout images",
        ylabel="accuracy after it, test images",
        xlim=limits(found.scores),
        ylim=limits(found.after),
    )
    rho, low, high = found.spearman
    axes.set_title(f"Spearman {rho:.2f} (95 % interval {low:.2f} to {high:.2f})", fontsize=9.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(percent_ticks())
    style = {"bins": 10, "color": PALE_BLUE, "edgecolor": "white"}
    grid[0, 0].hist(found.scores, **style)
    grid[0, 0].set(xlim=limits(found.scores), ylabel="draws", xticklabels=[])
    grid[1, 1].hist(found.after, orientation="horizontal", **style)
    grid[1, 1].set(ylim=limits(found.after), xlabel="draws", yticklabels=[])
    for place in (grid[0, 0].yaxis, grid[1, 1].xaxis):
        place.set_major_locator(MaxNLocator(3, integer=True))
    grid[0, 1].set_axis_off()
    figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=10.5)
    return figure
