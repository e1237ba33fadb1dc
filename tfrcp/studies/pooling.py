"""Several bases in one table: folders that differ in their base alone.

The base is a random effect: each row is averaged within a base first, and intervals and tests are
over bases (see `tfrcp.studies.statistics.mean`). So they tell of other bases.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfrcp.studies import reporting, settings
from tfrcp.studies.grid import Cell, Grid
from tfrcp.studies.runner import Benchmark


def run(config: Mapping[str, Any], workdir: str | os.PathLike[str], study: str = "all") -> Path:
    """Does what is left of a study, or of all, on several own bases, and writes one report.

    Bases are trained in the folders base0, base1, ... of `workdir`, with the seeds from
    `config.seed` on, of the network, of the split and of what is drawn. Cells are done seed by
    seed, of a seed study by study, all bases before the next study: whenever it is ended, all bases
    have about the same rows. The first base chooses the learning rates.

    Args:
        config: Nested dict; `config.benchmark.bases` is how many.
        workdir: Folder of the results.
        study: One of `tfrcp.studies.grid.STUDIES`, or "all".

    Returns:
        Path of report.html.

    Raises:
        ValueError: If the study is unknown, or as by `Benchmark`.
        RuntimeError: If a base, or every learning rate, failed.
    """
    studies = Grid(config["benchmark"]).of(study)
    parts = [
        Benchmark({**config, "seed": config["seed"] + number}, Path(workdir) / f"base{number}")
        for number in range(config["benchmark"]["bases"])
    ]
    try:
        for seed in sorted({cell.seed for each in studies for cell in each.cells}):
            for each in studies:
                cells = [cell for cell in each.cells if cell.seed == seed]
                for part in parts:
                    part.do(cells, parts[0].learning_rate)
    finally:
        page = _report(config, parts, workdir)
    return page


def pool(
    config: Mapping[str, Any],
    folders: Sequence[str | os.PathLike[str]],
    workdir: str | os.PathLike[str],
) -> Path:
    """Writes the report of several folders; nothing is run.

    Args:
        config: Nested dict, the configuration of all folders but for `seed` and `model`, which are
            those of each folder's own settings.
        folders: Folders of `Benchmark`, one for each base.
        workdir: Where the report goes, another folder. Single draws are not pooled: those of
            several bases are no sample of one distribution.

    Returns:
        Path of report.html.

    Raises:
        ValueError: If there are fewer than two folders, one of them has no settings or other
            settings, or two have the same seed and model, and so one base.
    """
    folders = [Path(folder) for folder in folders]
    if len(folders) < 2:
        raise ValueError(f"Two folders or more are needed. Received: {[*map(str, folders)]}")
    if Path(workdir).resolve() in [folder.resolve() for folder in folders]:
        raise ValueError(f"The report needs a folder of its own. Received: {workdir}")
    parts, origins = [], {}
    for folder in folders:
        own = _own(folder)
        other = origins.setdefault(json.dumps(own, sort_keys=True), folder)
        if other != folder:
            raise ValueError(f"{other} and {folder} have the same seed and model: one base")
        parts.append(Benchmark({**config, **own}, folder))
    return _report(config, parts, workdir)


def _report(
    config: Mapping[str, Any], parts: Sequence[Benchmark], workdir: str | os.PathLike[str]
) -> Path:
    """The report of all bases. A cell's seed there is its own plus that of the base's first."""
    grid, stride = pooled(config["benchmark"], len(parts))
    results = {}
    for number, part in enumerate(parts):
        of_base = part.facts()["base"]
        for cell in dict.fromkeys(c for s in part.grid.studies.values() for c in s.cells):
            found = part.result(cell)
            if found is not None:
                key = Cell(cell.setting, number * stride + cell.seed)
                accuracy = of_base["test_accuracy"]
                results[key] = dataclasses.replace(found, base=number, base_accuracy=accuracy)
    Path(workdir).mkdir(parents=True, exist_ok=True)
    facts = {**parts[0].facts(), "base": None, "bases": len(parts)}
    return reporting.write(Path(workdir), grid, results, facts)


def pooled(options: Mapping[str, Any], bases: int | None = None) -> tuple[Grid, int]:
    """The grid of several bases, without single draws, and by how much their seeds differ.

    Args:
        options: `config.benchmark` as a dict.
        bases: Their number, instead of that of the options.
    """
    bases = bases or options["bases"]
    stride = max(options["seeds"], options["pool"])
    seeds = [base * stride + seed for base in range(bases) for seed in range(options["seeds"])]
    return Grid({**options, "pool": 0}, seeds), stride


def _own(folder: Path) -> dict[str, Any]:
    found = settings.read(folder / "settings.json")
    return {name: found[name] for name in ("seed", "model")}
