"""The rows of the studies as cells of text, for Markdown, HTML and CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tfrcp.studies.grid import Grid, Study
from tfrcp.studies.statistics import Mean
from tfrcp.studies.tables import Pool, Row
from tfrcp.units import count, duration, percent, plural

TITLES = {
    "criteria": "Criteria under random pruning (F1)",
    "search": "Random pruning and other ways to allocate channels (F2)",
    "epochs": "Epochs of fine-tuning (F4)",
    "samples": "Sample size",
}
Table = list[list[str]]


class Texts:
    """Turns rows into text.

    Args:
        grid: The grid.
        facts: See `tfrcp.studies.reporting`.
    """

    def __init__(self, grid: Grid, facts: Mapping[str, Any]) -> None:
        self._grid, self._facts = grid, facts
        self._main = facts["config"]["benchmark"]["criterion"]

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
        return self._grid.baseline(row.setting) == row.setting

    def headline(self, study: Study, flops: float) -> str:
        """What all rows of a study at one target have in common."""
        setting = study.settings[0]
        parts = [f"target {percent(flops)} of the MACs"]
        if study.name != "criteria":
            parts.append(f"criterion {self._facts['labels'][self._main]} where none is named")
        if study.name in ("criteria", "samples"):
            parts.append("random search")
        if study.name != "samples":
            parts.append(f"{plural(setting.samples, 'sample')} for each search")
        if study.name != "epochs":
            parts.append(f"{plural(setting.epochs, 'epoch')} of fine-tuning")
        return ", ".join(parts)

    def accuracies(self, rows: Sequence[Row]) -> Table:
        """Accuracy of each row, and its difference from plain random search."""
        head = [
            "",
            "test accuracy, mean ± sd",
            "95 % interval",
            "difference to random search, percentage points",
        ]
        head += ["95 % interval", "before fine-tuning", "MACs", "weights", "seeds"]
        return [head, *([self.label(row), *self._accuracy(row)] for row in rows)]

    def _accuracy(self, row: Row) -> list[str]:
        if row.test is None:
            return [_state(row), *[""] * 6, f"0 of {row.planned}"]
        share = f"{row.test.count} of {row.planned}"
        state = _state(row)
        return [
            f"{percent(row.test.mean)} ± {_number(row.test.deviation)}",
            _interval(row.test),
            "(baseline)" if self.is_baseline(row) else _points(row.difference),
            _interval(row.difference, signed=True),
            percent(row.before.mean),
            percent(row.flops),
            percent(row.params),
            f"{share}; {state}" if state else share,
        ]

    def costs(self, rows: Sequence[Row]) -> Table:
        """What each row cost, mean over the seeds."""
        head = ["", "networks scored", "images read by the criterion", "image passes before"]
        head += ["images of fine-tuning", "criterion", "allocation", "fine-tuning"]
        return [head, *([self.label(row), *_cost(row)] for row in rows)]

    def pool(self, pool: Pool) -> list[str]:
        """What the pool says, in sentences."""
        (rho, low, high), (tau, tau_low, tau_high) = pool.spearman, pool.kendall
        marks = [m for m in (1, 2, 5, 10, 20, 50, 100) if m < len(pool.counts)]
        marks.append(len(pool.counts))
        best = ", ".join(
            f"{m}: {percent(pool.best_before[0][m - 1])} before and "
            f"{percent(pool.best_after[0][m - 1])} after"
            for m in marks
        )
        return [
            f"{len(pool.after)} of {plural(pool.planned, 'single draw')} were fine-tuned and "
            f"tested: {percent(pool.before.min())} to {percent(pool.before.max())} before "
            f"fine-tuning (holdout images), {percent(pool.after.min())} to "
            f"{percent(pool.after.max())} after it (test images).",
            f"Rank correlation of the score before and the accuracy after: Spearman {rho:.2f} (95 "
            f"% interval {low:.2f} to {high:.2f}), Kendall {tau:.2f} ({tau_low:.2f} to "
            f"{tau_high:.2f}).",
            f"Expected accuracy of the best-scored of m draws, m = {best}.",
        ]

    def verdict(self, rows: Sequence[Row]) -> str:
        """Which rows differ from random search by more than chance would explain."""
        compared = [row for row in rows if row.difference and row.difference.count > 1]
        if not compared:
            return ""
        clear = [row for row in compared if row.difference.low > 0 or row.difference.high < 0]
        names = ", ".join(f"{self.label(row)} ({_points(row.difference)})" for row in clear)
        return (
            f"Of {plural(len(compared), 'row')} {len(clear)} differ from plain random search with "
            f"intervals that exclude 0{': ' + names if names else ''}. By chance one in 20 does, "
            "where there is no difference."
        )


def as_csv(texts: Texts, rows: Sequence[Row]) -> str:
    """All rows of all studies as CSV; accuracies and shares are fractions, times seconds."""
    lines = []
    for row in rows:
        line = {"study": row.study, "row": texts.label(row), **dataclasses.asdict(row.setting)}
        for name in ("test", "holdout", "before", "difference"):
            found = getattr(row, name)
            for field in dataclasses.fields(Mean):
                value = getattr(found, field.name) if found else ""
                line[f"{name}_{field.name}"] = value
        for name in ("flops", "params", "candidates", "images", "passes", "finetune_images"):
            line["flops_reached" if name == "flops" else name] = getattr(row, name)
        for name in ("criterion", "allocation", "finetune"):
            line[f"{name}_seconds"] = row.seconds.get(name, "")
        line |= {"seeds_planned": row.planned, "failures": "; ".join(row.failures)}
        lines.append({k: "" if v != v else v for k, v in line.items()})  # NaN is not itself
    file = io.StringIO()
    writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


def as_markdown(table: Table) -> str:
    """A table in Markdown."""
    head, *body = ([cell.replace("|", "\\|") for cell in line] for line in table)
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def facts_in_words(facts: Mapping[str, Any]) -> list[str]:
    """What all rows have in common, in sentences."""
    config, options = facts["config"], facts["config"]["benchmark"]
    images, base, rate = facts["images"], facts["base"], facts["learning_rate"]
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
        "MACs around the target. The test images are read once for each cell."
    )
    chosen = ""
    if rate:
        tried = ", ".join(
            f"{key} ({percent(value)})" for key, value in rate["holdout_accuracy"].items()
        )
        chosen = (
            f"; learning rate {rate['learning_rate']:g} for all rows, by the holdout accuracy of "
            f"uniform widths: {tried}"
        )
    sentences.append(
        f"Fine-tuning: SGD, batches of {recipe['batch_size']}, Nesterov momentum "
        f"{recipe['momentum']:g}, weight decay {recipe['weight_decay']:g}, cosine to 0, "
        f"augmentation {recipe['augment'] or 'none'}; an epoch is {tuned:,} images{chosen}."
    )
    sentences.append(
        "A seed decides the draws of a method and the order of the images; base, split and "
        "calibration images are the same for all. So intervals say nothing of other bases. "
        "Differences are paired by seed."
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
        return [_state(row), *[""] * 6]
    numbers = (row.candidates, row.images, row.passes, row.finetune_images)
    seconds = (row.seconds[name] for name in ("criterion", "allocation", "finetune"))
    return [*(f"{number:,.0f}" for number in numbers), *(duration(s) for s in seconds)]


def _number(fraction: float) -> str:
    return "?" if math.isnan(fraction) else f"{100 * fraction:.1f}"


def _points(difference: Mean | None) -> str:
    return "" if difference is None else f"{100 * difference.mean:+.1f}"


def _interval(found: Mean | None, *, signed: bool = False) -> str:
    if found is None or math.isnan(found.low):
        return ""
    form = "+.1f" if signed else ".1f"
    return f"{100 * found.low:{form}} to {100 * found.high:{form}}"
