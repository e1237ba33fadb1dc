"""Several bases in one table: the results of folders that differ in their base alone.

The base is a random effect: each row is averaged within a base first, and intervals and tests are
over bases (see `tfrcp.studies.statistics.mean`). So they tell of other bases.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfrcp.studies import reporting
from tfrcp.studies.grid import Cell, Grid
from tfrcp.studies.runner import Benchmark


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
    options = config["benchmark"]
    count = options["seeds"]
    grid = Grid({**options, "seeds": count * len(parts), "pool": 0})
    results = {}
    for number, part in enumerate(parts):
        for study in grid.studies.values():
            for setting in study.settings:
                for seed in range(count):
                    found = part.result(Cell(setting, seed))
                    if found is not None:
                        key = Cell(setting, number * count + seed)
                        results[key] = {**found, "base": str(folders[number])}
    Path(workdir).mkdir(parents=True, exist_ok=True)
    facts = {**parts[0].facts(), "base": None, "learning_rate": None, "bases": len(parts)}
    return reporting.write(Path(workdir), grid, results, facts)


def _own(folder: Path) -> dict[str, Any]:
    file = folder / "settings.json"
    if not file.exists():
        raise ValueError(f"{folder} is no folder of a study: it has no settings.json")
    settings = json.loads(file.read_text())
    return {name: settings[name] for name in ("seed", "model")}
