"""Pictures of the networks: what the winner keeps, and how it and the unpruned one were trained.

Each function draws one picture, or returns None where the run has not come that far.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfrcp.run.report.drawing import BLACK, BLUE, ORANGE, PALE, WIDTH, percent_ticks
from tfrcp.run.report.reading import Metrics, histories, objective, section
from tfrcp.units import percent


def channels(metrics: Metrics) -> Figure | None:
    """Kept channels of every group of the winner, in forward order."""
    groups = section(metrics, "channels")
    if not groups:
        return None
    names = [_short(name) for name in groups]
    kept, full = (np.array([group[key] for group in groups.values()]) for key in ("kept", "full"))
    columns = 2 if len(names) > 30 and max(map(len, names)) <= 24 else 1
    rows = math.ceil(len(names) / columns)
    most = max(1.0, float((kept / full).max()))  # from scratch, widths beyond the original ones
    figure = Figure(figsize=(WIDTH, 0.9 + 0.19 * rows), layout="constrained")
    figure.get_layout_engine().set(wspace=0.06)
    panels = figure.subplots(1, columns, squeeze=False)[0]
    for column, axes in enumerate(panels):
        part = slice(column * rows, (column + 1) * rows)
        places = range(len(names[part]))
        axes.barh(places, 1.0, height=0.72, color=PALE)
        axes.barh(places, kept[part] / full[part], height=0.72, color=BLUE)
        for place, few, many in zip(places, kept[part], full[part], strict=True):
            text = f"{few} of {many}"
            axes.text(most + 0.02, place, text, fontsize=8, verticalalignment="center_baseline")
        axes.set_yticks(places, names[part], fontsize=8)
        axes.tick_params(axis="y", length=0)
        axes.set_xticks(np.arange(0.0, most + 0.01, 0.5))
        axes.xaxis.set_major_formatter(percent_ticks())
        axes.set(xlim=(0.0, most), ylim=(rows - 0.4, -0.6))
        axes.spines[["left", "bottom"]].set_visible(False)
    figure.suptitle(
        f"The winner keeps {kept.sum():,} of {full.sum():,} channels in {len(names)} groups",
        fontsize=10,
        horizontalalignment="left",
        x=0.01,
    )
    figure.supxlabel("kept share of the group's channels", fontsize=9.5)
    return figure


def training(metrics: Metrics) -> Figure | None:
    """Accuracy and loss of every epoch, one column for each training of at least two epochs."""
    trainings = {
        title: history
        for title, history in histories(metrics).items()
        if max(map(len, history.values())) > 1
    }
    shown = [
        key
        for key in dict.fromkeys(("accuracy", objective(metrics).name, "loss"))
        if any({key, f"val_{key}"} & set(history) for history in trainings.values())
    ]
    if not shown:
        return None
    figure = Figure(figsize=(WIDTH, 0.6 + 2.2 * len(shown)), layout="constrained")
    panels = figure.subplots(len(shown), len(trainings), squeeze=False, sharex="col")
    for column, (title, history) in zip(panels.T, trainings.items(), strict=True):
        for axes, key in zip(column, shown, strict=True):
            _curves(axes, history, key)
        column[0].set_title(title)
        column[-1].set_xlabel("epoch")
    for axes, key in zip(panels[:, 0], shown, strict=True):
        score = objective(metrics)
        axes.set_ylabel(score.label if key == score.name else key)
    figure.align_ylabels(panels[:, 0])
    return figure


def supernet(metrics: Metrics) -> Figure | None:
    """Accuracy and loss of three widths of a supernet over the epochs of its training."""
    history = section(metrics, "training", "supernet", "history")
    if len(history.get("loss") or []) < 2:
        return None
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    for axes, kind in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for role, color in (("largest", BLUE), ("random", ORANGE), ("smallest", BLACK)):
            values = np.array(history.get(f"{role}_{kind}") or [], dtype=float)
            axes.plot(1 + np.arange(len(values)), values, color=color, label=role)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
        axes.set(xlabel="epoch", ylabel=f"{kind}, training images")
    figure.axes[0].yaxis.set_major_formatter(percent_ticks())
    figure.axes[1].legend(frameon=False)
    figure.axes[0].set_title("Training of the supernet at three widths")
    return figure


def _curves(axes: Axes, history: dict[str, list[float]], key: str) -> None:
    """Draws one line per split and writes its last value beside its end."""
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    if key == "accuracy":
        axes.yaxis.set_major_formatter(percent_ticks())
    ends = []
    for split, name, color in (("training", key, BLUE), ("holdout", f"val_{key}", ORANGE)):
        values = np.array(history.get(name, []), dtype=float)  # A null becomes a NaN: a gap.
        axes.plot(
            1 + np.arange(len(values)),
            values,
            color=color,
            marker="o" if len(values) < 12 else "",
            markersize=3.5,
        )
        if len(values) and np.isfinite(values[-1]):
            text = percent(values[-1]) if key == "accuracy" else f"{values[-1]:.3g}"
            ends.append((values[-1], f"{split} {text}", color))
    low, high = axes.get_ylim()
    places = [(value - low) / (high - low) for value, _, _ in sorted(ends)]
    if len(places) == 2 and places[1] - places[0] < 0.09:  # Too close to be written side by side.
        middle = min(sum(places) / 2, 0.94)
        places = [middle - 0.045, middle + 0.045]
    for place, (_, text, color) in zip(places, sorted(ends), strict=True):
        axes.text(
            1.02, place, text, color=color, transform=axes.transAxes, verticalalignment="center"
        )


def _short(name: str, length: int = 48) -> str:
    """A long name with its middle left out: both ends tell layers apart."""
    half = length // 2
    return name if len(name) <= length else f"{name[:half]}\N{HORIZONTAL ELLIPSIS}{name[-half:]}"
