"""The cells of a study as lines of JSON, and back."""

from __future__ import annotations

import dataclasses
import json

from tfrcp.studies.grid import Cell, Setting, whole
from tfrcp.studies.records import CellResult
from tfrcp.studies.tables import Results

_FIELDS = [field.name for field in dataclasses.fields(Setting)]


def as_jsonl(results: Results) -> str:
    """One line for each cell: its setting, its seed and what it came to."""
    return "".join(
        json.dumps(
            {**dataclasses.asdict(cell.setting), "seed": cell.seed, "result": result.json()},
            separators=(",", ":"),
        )
        + "\n"
        for cell, result in results.items()
    )


def from_jsonl(text: str) -> dict[Cell, CellResult]:
    """The cells that `as_jsonl` wrote.

    Raises:
        ValueError: If a line is no cell, with its number.
    """
    results = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            found = json.loads(line)
            setting = Setting(**{name: found[name] for name in _FIELDS})
            setting = dataclasses.replace(setting, epochs=whole(setting.epochs))
            results[Cell(setting, found["seed"])] = CellResult.of(found["result"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"Line {number} is no cell of a study: {error!r}") from None
    return results
