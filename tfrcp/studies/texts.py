"""The rows of the studies as cells of text, for Markdown, HTML and CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfrcp.studies.grid import Grid, Study
from tfrcp.studies.statistics import Mean
from tfrcp.studies.tables import Pool, Row
from tfrcp.studies.verdicts import in_words
from tfrcp.units import count, duration, percent, plural

TITLES = {
    "criteria": "Criteria under random pruning (F1)",
    "search": "Random pruning and other ways to allocate channels (F2)",
    "epochs": "Epochs of fine-tuning (F4)",
    "samples": "Sample size",
}
_BEST_OF = (
    "Intervals (95 %) stand where they are known to hold, for m up to a tenth of the draws: the "
    "best of more hangs on the few best draws, and intervals by the same draws miss it too often."
)
Table = list[list[str]]


class Texts:
    """Turns rows into text.

    Args:
        grid: The grid.
        facts: See `tfrcp.studies.reporting`.

    Attributes:
        baseline: What rows are compared with.
        margins: Of equivalence, in percentage points.
    """

    def __init__(self, grid: Grid, facts: Mapping[str, Any]) -> None:
        self._grid, self._facts = grid, facts
        self._main = facts["config"]["benchmark"]["criterion"]
        self.baseline = f"random search by {facts['labels'][self._main]}"
        self.margins = grid.margins

    def label(self, row: Row) -> str:
        """What tells a row from the others of its study."""
        setting, labels = row.setting, self._facts["labels"]
        criterion, allocation = (labels[x] for x in (setting.criterion, setting.allocation))
        if row.study == "criteria":
            return criterion
        if row.study == "search":
            plain = setting.criterion == self._main
            return allocation if plain else f"{allocation}, by {criterion}"
        if row.study == "epochs":
            return f"{allocation}, {plural(setting.epochs, 'epoch')}"
        return plural(setting.samples, "sample")

    def is_baseline(self, row: Row) -> bool:
        """Whether a row is what others are compared with."""
        return self._grid.baseline(row.study, row.setting) == row.setting

    def headline(self, study: Study, flops: float) -> str:
        """What all rows of a study at one target have in common."""
        setting = study.settings[0]
        parts = [f"target {percent(flops)} of the MACs"]
        if study.name != "criteria":
            parts.append(f"criterion {self._facts['labels'][self._main]} where none is named")
        shared = study.name == "criteria" and setting.samples == 1
        if shared:
            parts.append("random channel counts, those of a seed shared by all criteria")
        elif study.name in ("criteria", "samples"):
            parts.append("random search")
        if study.name != "samples" and not shared:
            parts.append(f"{plural(setting.samples, 'sample')} for each search")
        if study.name != "epochs":
            parts.append(f"{plural(setting.epochs, 'epoch')} of fine-tuning")
        return ", ".join(parts)

    def accuracies(self, rows: Sequence[Row]) -> Table:
        """Accuracy of each row, its difference from plain random search and what it amounts to."""
        head = [
            "",
            "test accuracy, mean ± sd (95 % interval)",
            f"difference to {self.baseline}, percentage points (95 % interval)",
        ]
        head += ["verdict", "before fine-tuning", "image passes", "seeds"]
        return [head, *([self.label(row), *self._accuracy(row)] for row in rows)]

    def _accuracy(self, row: Row) -> list[str]:
        if row.test is None:
            return [_state(row), *[""] * 4, f"0 of {row.planned}"]
        share = f"{row.done} of {row.planned}"
        state = _state(row)
        baseline = self.is_baseline(row)
        return [
            f"{percent(row.test.mean)} ± {_number(row.test.deviation)}{_interval(row.test)}",
            "baseline" if baseline else _points(row.difference),
            "" if row.verdict is None else str(row.verdict),
            percent(row.before.mean),
            f"{row.passes:,.0f}",
            f"{share}; {state}" if state else share,
        ]

    def costs(self, rows: Sequence[Row]) -> Table:
        """Size of the networks of each row and what they cost, mean over the seeds."""
        head = ["", "MACs", "weights", "networks scored", "images read by the criterion"]
        head += ["images of fine-tuning", "criterion", "allocation", "fine-tuning"]
        return [head, *([self.label(row), *_cost(row)] for row in rows)]

    def pool(self, pool: Pool) -> list[str]:
        """What the pool says, in sentences."""
        (rho, low, high), (tau, tau_low, tau_high) = pool.spearman, pool.kendall
        marks = [m for m in (1, 2, 5, 10, 20, 50, 100) if m < len(pool.counts)]
        marks.append(len(pool.counts))

        def expected(found: tuple[np.ndarray, ...], m: int) -> str:
            middle, low, high = (values[m - 1] for values in found)
            interval = "" if math.isnan(low) else f" ({percent(low)} to {percent(high)})"
            return percent(middle) + interval

        best = ", ".join(
            f"{m}: {expected(pool.best_before, m)} before and {expected(pool.best_after, m)} after"
            for m in marks
        )
        return [
            f"{len(pool.after)} of {plural(pool.planned, 'single draw')} were fine-tuned and "
            f"tested: {percent(pool.before.min())} to {percent(pool.before.max())} before "
            f"fine-tuning, {percent(pool.after.min())} to "
            f"{percent(pool.after.max())} after it (test images).",
            f"Rank correlation of the score before and the accuracy after: Spearman {rho:.2f} (95 "
            f"% interval {low:.2f} to {high:.2f}), Kendall {tau:.2f} ({tau_low:.2f} to "
            f"{tau_high:.2f}).",
            f"Expected accuracy of the best-scored of m draws, m = {best}. {_BEST_OF}",
        ]

    def verdict(self, rows: Sequence[Row]) -> str:
        """What the tests say of the rows of a table, in sentences."""
        judged = [row for row in rows if row.verdict]
        if not judged:
            return ""

        def names(some: Sequence[Row]) -> str:
            if not some:
                return "none"
            return ", ".join(f"{self.label(row)} ({signed(row.difference.mean)})" for row in some)

        better = [row for row in judged if row.verdict.direction > 0]
        worse = [row for row in judged if row.verdict.direction < 0]
        sentences = [f"Better than {self.baseline}: {names(better)}. Worse: {names(worse)}."]
        for margin in sorted(self.margins, reverse=True):
            same = [row for row in judged if row.verdict.within and row.verdict.within <= margin]
            sentences.append(f"Equivalent within {in_words(margin)}: {names(same)}.")
        undecided = [row for row in judged if str(row.verdict) == "undecided"]
        sentences.append(f"Undecided: {len(undecided)} of {len(judged)}.")
        return " ".join(sentences)


def as_markdown(table: Table) -> str:
    """A table in Markdown."""
    head, *body = ([cell.replace("|", "\\|") for cell in line] for line in table)
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def facts_in_words(facts: Mapping[str, Any]) -> list[str]:
    """What all rows have in common, in sentences."""
    config, options = facts["config"], facts["config"]["benchmark"]
    images, base, rates = facts["images"], facts["base"], facts["learning_rates"]
    tested = options["test_images"] or images["test"]
    scored = options["score_images"] or images["holdout"]
    tuned = options["finetune_images"] or images["train"]
    recipe = config["finetune"]
    sentences = []
    if base:
        sentences.append(
            f"Base: {config['model']['name']} on {config['data']['name']}, "
            f"{percent(base['test_accuracy'])} of {tested:,} test images, "
            f"{count(base['flops'])} MACs per image (one is one FLOP), "
            f"{count(base['params'])} weights; one checkpoint for all rows."
        )
    sentences.append(
        f"Candidates are scored on {scored:,} holdout images after the reconstruction "
        f"'{config['search']['reconstruction']}' with {config['search']['calibration_images']} "
        f"training images, within {percent(config['search']['tolerance'])} of the unpruned "
        "MACs around the target. Accuracies before fine-tuning are those of "
        f"{min(scored, tested):,} test images, which select nothing."
    )
    chosen = ""
    for epochs, rate in rates.items():
        tried = ", ".join(
            f"{key} ({percent(value)})" for key, value in rate["holdout_accuracy"].items()
        )
        chosen += f"; with {plural(epochs, 'epoch')} {rate['learning_rate']:g} of {tried}"
    if chosen:
        chosen = (
            ". Learning rates are those of all rows, by the holdout accuracy of uniform widths"
            f"{chosen}"
        )
    sentences.append(
        f"Fine-tuning: SGD, batches of {recipe['batch_size']}, Nesterov momentum "
        f"{recipe['momentum']:g}, weight decay {recipe['weight_decay']:g}, cosine to 0, "
        f"augmentation {recipe['augment'] or 'none'}; an epoch is {tuned:,} images{chosen}."
    )
    sentences.append(
        "A seed decides the draws of a method and the order of the images. Differences are paired "
        "by seed."
    )
    if "bases" in facts:
        sentences.append(
            f"{facts['bases']} bases, each with its own split and learning rate: values are "
            "averaged within a base, and standard deviations, intervals and tests are over bases."
        )
    else:
        sentences.append(
            "Base, split and calibration images are the same for all. So intervals say nothing of "
            "other bases."
        )
    margins = " and ".join(f"{margin:g}" for margin in options["margins"])
    sentences.append(
        "Verdicts: better or worse by a two-sided t test of the paired differences, equivalent by "
        f"two one-sided t tests (TOST) at the margins of the settings, {margins} percentage "
        "points; each kind at 5 % after Holm's correction over the rows of a table, while the "
        "intervals are those of single rows. "
        "Undecided means that neither is shown, not that there is no difference."
    )
    return sentences


def _state(row: Row) -> str:
    """What is missing of a row, in words."""
    if row.failures:
        first = row.failures[0] if len(row.failures[0]) < 300 else row.failures[0][:300] + " ..."
        return f"{len(row.failures)} failed: {first}"
    return "not run" if row.test is None else ""


def _cost(row: Row) -> list[str]:
    if row.test is None:
        return [_state(row), *[""] * 7]
    numbers = (row.candidates, row.images, row.finetune_images)
    seconds = (row.seconds[name] for name in ("criterion", "allocation", "finetune"))
    return [
        percent(row.flops),
        percent(row.params),
        *(f"{number:,.0f}" for number in numbers),
        *(duration(s) for s in seconds),
    ]


def _number(fraction: float) -> str:
    return "?" if math.isnan(fraction) else f"{100 * fraction:.1f}"


def signed(fraction: float) -> str:
    """A difference in percentage points, with its sign."""
    return f"{100 * fraction:+.1f}"


def _points(difference: Mean | None) -> str:
    if difference is None:
        return ""
    return signed(difference.mean) + _interval(difference, "+.1f")


def _interval(found: Mean, form: str = ".1f") -> str:
    if math.isnan(found.low):
        return ""
    return f" ({100 * found.low:{form}} to {100 * found.high:{form}})"
