"""What the results of a benchmark depend on: kept beside them, and compared when it resumes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfrcp import files

# What names results, and so may change: a folder can get more rows, seeds and draws.
_FREE = ("criteria", "allocations", "epochs_grid", "epochs_allocations", "samples", "samples_grid")
_FREE += ("pool", "pool_epochs", "seeds", "bases", "criteria_samples")
_SEARCH = ("params", "tolerance", "min_ratio", "max_ratio", "divisor", "fixed", "tied")
_SEARCH += ("reconstruction", "calibration_images", "batch_norm_images")


def read(file: Path) -> dict[str, Any]:
    """The settings of a folder.

    Raises:
        ValueError: If the file is missing or damaged, with its name.
    """
    if not file.exists():
        raise ValueError(f"{file.parent} is no folder of a study: it has no {file.name}")
    try:
        settings = json.loads(file.read_text())
        if {"seed", "model", "benchmark"} <= settings.keys():
            return settings
    except (ValueError, AttributeError):
        pass
    raise ValueError(
        f"{file} is damaged: it does not hold what the results beside it depend on. Restore it, or "
        "choose another --workdir."
    )


def check(file: Path, config: Mapping[str, Any]) -> None:
    """Writes the settings, or compares them with those that are there.

    Args:
        file: The file.
        config: Nested dict of plain values.

    Raises:
        ValueError: If an entry differs, with both values, or as of `read`.
    """
    config = json.loads(json.dumps(config))
    settings = {key: config[key] for key in ("seed", "data", "model", "train", "finetune")}
    for name in ("data_dir", "download"):
        settings["data"].pop(name)
    settings["search"] = {name: config["search"][name] for name in _SEARCH}
    settings["benchmark"] = {k: v for k, v in config["benchmark"].items() if k not in _FREE}
    if not file.exists():
        files.write_text(file, json.dumps(settings, indent=1))
    before = read(file)
    if "margins" not in before["benchmark"]:  # a folder of before there were any
        before["benchmark"]["margins"] = settings["benchmark"]["margins"]
        files.write_text(file, json.dumps(before, indent=1))
    found = [
        f"{field} was {old!r} and is now {new!r}"
        for field, old, new in files.differences(before, settings)
    ]
    if found:
        raise ValueError(
            f"The benchmark in {file.parent} was made with another configuration: "
            f"{'; '.join(found)}. Choose another --workdir."
        )
