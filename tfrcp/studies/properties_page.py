"""Properties of random pruning in sentences, tables and a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from tfrcp.run.report.drawing import BLUE, GREY, ORANGE, PALE, PALE_BLUE, WIDTH
from tfrcp.studies import properties
from tfrcp.studies.properties import FEWEST, Draw
from tfrcp.studies.texts import Table
from tfrcp.units import percent, plural


def distribution(some: Sequence[Draw], epochs: float) -> Table:
    """The distribution before and after fine-tuning, in percentage points about the base's mean."""
    lines: Table = []
    values = {"before fine-tuning": [draw.before for draw in some]}
    for length in _lengths(some):
        if all(length in draw.after for draw in some):
            values[f"after {plural(length, 'epoch')}"] = [draw.after[length] for draw in some]
    for name, found in values.items():
        moments = properties.moments(properties.centred(some, found))
        if not lines:
            lines.append(["percentage points", "mean accuracy", *moments])
        shapes = [moments.pop("skewness"), moments.pop("excess kurtosis")]
        points = [f"{100 * value:+.2f}" for value in moments.values()]
        points[0] = points[0].lstrip("+")
        lines.append([name, percent(np.mean(found)), *points, *(f"{s:+.1f}" for s in shapes)])
    return lines


def sentences(some: Sequence[Draw], epochs: float, names: Sequence[str]) -> list[str]:
    """What the draws say, paragraph by paragraph."""
    bases = len({draw.base for draw in some})
    if len(some) < FEWEST:
        return [
            f"{plural(len(some), 'single draw')} of {plural(bases, 'base')} are done, too few to "
            f"say anything: {FEWEST} are the least."
        ]
    after = np.array([draw.after[epochs] for draw in some])
    unpruned = np.array([draw.unpruned for draw in some])
    best = {base: max(d.after[epochs] for d in some if d.base == base) for base in _bases(some)}
    near = np.mean([best[draw.base] - draw.after[epochs] <= 0.01 for draw in some])
    found = [
        f"{plural(len(some), 'draw')} of {plural(bases, 'base')}, fine-tuned for "
        f"{plural(epochs, 'epoch')}. {percent(near)} of them are within 1 point of the best draw "
        f"of their base. The unpruned bases, an upper bound, have {percent(unpruned.mean())} on "
        f"average, the draws {percent(after.mean())}, the best draw of each base "
        f"{percent(np.mean([*best.values()]))}.",
    ]
    for length in _lengths(some):
        rho, low, high = properties.rank_correlation(some, length)
        if np.isfinite(rho):
            found.append(
                f"Rank correlation of the score before fine-tuning and the accuracy after "
                f"{plural(length, 'epoch')}: Spearman {rho:.2f} within bases (95 % interval "
                f"{low:.2f} to {high:.2f})."
            )
    gains = properties.best_of(some, epochs)
    marks = [m for m in (2, 5, 10, 20) if m <= len(gains)]
    worth = ", ".join(f"{m}: {100 * gains[m - 1]:+.2f}" for m in marks)
    found.append(
        f"What the best-scored of m draws is worth beyond one draw after {plural(epochs, 'epoch')}"
        f", percentage points, mean over bases, without intervals since m is near the number of "
        f"draws of a base: {worth}."
    )
    fit = properties.regression(some, epochs)
    if fit is None:
        found.append("Too few draws for a regression on the widths of the groups.")
        return found
    shown = [
        f"{name} ({100 * slope:+.2f} ± {100 * reach:.2f})"
        for name, slope, reach in zip(names, fit.slopes, fit.reaches, strict=True)
        if abs(slope) > reach
    ]
    found.append(
        f"A linear regression on the widths of the groups explains {percent(max(fit.explained, 0))}"
        f" of the variance within bases (adjusted). Groups whose 95 % interval excludes 0, each "
        "alone, in points for a standard deviation of the width: "
        f"{', '.join(shown) or 'none'}."
    )
    return found


def picture(title: str, some: Sequence[Draw], epochs: float, names: Sequence[str]) -> Figure | None:
    """Distribution, rank correlation, worth of more draws, and slopes of the regression."""
    if len(some) < FEWEST:
        return None
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    (hist, rank), (best, slopes) = figure.subplots(2, 2)
    before = 100 * properties.centred(some, [draw.before for draw in some])
    after = 100 * properties.centred(some, [draw.after[epochs] for draw in some])
    bins = np.linspace(min(before.min(), after.min()), max(before.max(), after.max()), 24)
    hist.axvspan(-1, 1, color=GREY, alpha=0.15, linewidth=0)
    hist.hist(before, bins, color=PALE_BLUE, label="before fine-tuning")
    hist.hist(after, bins, color=ORANGE, alpha=0.75, label=f"after {plural(epochs, 'epoch')}")
    hist.set(xlabel="points about the base's mean (shaded: ± 1)", ylabel="draws")
    hist.set_title("Distribution")
    hist.set_ylim(0, 1.45 * hist.get_ylim()[1])  # room for the legend
    hist.legend(frameon=False, loc="upper left")
    lengths = [n for n in _lengths(some) if np.isfinite(properties.rank_correlation(some, n)[0])]
    rho = np.array([properties.rank_correlation(some, n) for n in lengths])
    if len(rho):
        x = np.arange(len(lengths))
        reach = [rho[:, 0] - rho[:, 1], rho[:, 2] - rho[:, 0]]
        rank.errorbar(x, rho[:, 0], reach, fmt="o", color=BLUE, capsize=3)
        rank.set_xticks(x, [f"{n:g}" for n in lengths])
    rank.axhline(0, color=GREY, linewidth=0.8)
    rank.set(ylim=(-1, 1), xlabel="epochs of fine-tuning", ylabel="Spearman's correlation")
    rank.set_title("Score before and accuracy after")
    gains = 100 * properties.best_of(some, epochs)
    best.axhspan(-1, 1, color=GREY, alpha=0.15, linewidth=0)
    best.plot(np.arange(1, len(gains) + 1), gains, color=BLUE, marker="o", markersize=3)
    best.set(xlabel="m, draws (shaded: ± 1 point)", ylabel="points beyond one draw")
    best.set_title("Best-scored of m draws")
    fit = properties.regression(some, epochs)
    if fit is None:
        slopes.set_axis_off()
    else:
        y = np.arange(len(names))
        slopes.axvline(0, color=GREY, linewidth=0.8)
        slopes.errorbar(
            100 * fit.slopes, y, xerr=100 * fit.reaches, fmt="o", color=BLUE, markersize=4
        )
        slopes.set_yticks(y, names, fontsize=7.5)
        slopes.set_ylim(len(names) - 0.5, -0.5)
        slopes.set_xlabel("points for one standard deviation")
        slopes.set_title("Widths of the groups")
    for axes in (hist, rank, best):
        axes.grid(axis="y", color=PALE, linewidth=0.6)
    figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=10.5)
    return figure


def _lengths(some: Sequence[Draw]) -> list[float]:
    return sorted({length for draw in some for length in draw.after if length})


def _bases(some: Sequence[Draw]) -> list[int]:
    return sorted({draw.base for draw in some})
