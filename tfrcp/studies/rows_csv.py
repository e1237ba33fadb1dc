"""The rows of the studies as a CSV file, and back."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Sequence

from tfrcp.studies import tables
from tfrcp.studies.grid import Grid, Setting, whole
from tfrcp.studies.statistics import Mean
from tfrcp.studies.tables import Row
from tfrcp.studies.texts import Texts

_MEANS = ("test", "holdout", "before", "difference")
_NUMBERS = ("flops", "params", "candidates", "images", "passes", "finetune_images")
_TIMES = ("criterion", "allocation", "finetune")


def as_csv(texts: Texts, rows: Sequence[Row]) -> str:
    """All rows of all studies as CSV; accuracies and shares are fractions, times seconds.

    P-values are after Holm's correction over the rows of a table.
    """
    lines = []
    for row in rows:
        line = {"study": row.study, "row": texts.label(row), **dataclasses.asdict(row.setting)}
        for name in _MEANS:
            found = getattr(row, name)
            for field in dataclasses.fields(Mean):
                value = getattr(found, field.name) if found else ""
                line[f"{name}_{field.name}"] = value
        for index, margin in enumerate(texts.margins):
            p = row.verdict.p_equivalent[index] if row.verdict else ""
            line[f"p_equivalent_within_{margin:g}"] = p
        line["p_difference"] = row.verdict.p_difference if row.verdict else ""
        line["verdict"] = str(row.verdict or "")
        for name in _NUMBERS:
            line["flops_reached" if name == "flops" else name] = getattr(row, name)
        for name in _TIMES:
            line[f"{name}_seconds"] = row.seconds.get(name, "")
        line |= {
            "seeds_planned": row.planned,
            "seeds_done": row.done,
            "failures": "; ".join(row.failures),
        }
        lines.append({k: "" if v != v else v for k, v in line.items()})  # NaN is not itself
    file = io.StringIO()
    writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


def from_csv(grid: Grid, text: str) -> dict[str, list[Row]]:
    """The rows that `as_csv` wrote, by study; their verdicts are made anew at the grid's margins.

    Args:
        grid: The grid of the studies.
        text: Of the file, whose verdicts and p-values are not read.
    """
    rows: dict[str, list[Row]] = {}
    for line in csv.DictReader(io.StringIO(text)):
        setting = Setting(
            line["criterion"],
            line["allocation"],
            float(line["flops"]),
            whole(float(line["epochs"])),
            int(line["samples"]),
        )
        row = Row(
            line["study"],
            setting,
            int(line["seeds_planned"]),
            int(line["seeds_done"]),
            tuple(filter(None, line["failures"].split("; "))),
            **{name: _mean(line, name) for name in _MEANS},
            **{
                name: _number(line["flops_reached" if name == "flops" else name])
                for name in _NUMBERS
            },
            seconds={
                name: float(line[f"{name}_seconds"]) for name in _TIMES if line[f"{name}_seconds"]
            },
        )
        rows.setdefault(row.study, []).append(row)
    return {study: tables.judged(grid, own) for study, own in rows.items()}


def _mean(line: dict[str, str], name: str) -> Mean | None:
    if not line[f"{name}_count"]:
        return None
    ends = (_number(line[f"{name}_{part}"]) for part in ("mean", "deviation", "low", "high"))
    return Mean(*ends, int(line[f"{name}_count"]))


def _number(text: str) -> float:
    return float(text) if text else math.nan
