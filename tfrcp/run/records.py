"""What a working folder says about itself: the shape of `metrics.json`, and of the files beside it.

`metrics.json` holds, beside the figures (see `tfrcp.run.report`):

    stages      [{name, seconds (null until it is complete), config}, ...]
    files       {name: {bytes, sha256}} of what complete stages wrote
    checksum    SHA-256 of all other entries, which tells whether they are as they were written
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfrcp import files

_MAPPINGS = (
    *("config", "versions", "data", "budget", "objective", "search", "channels", "scratch"),
    *("training", "results", "export", "steps", "files"),
)
_COPY = ".metrics.copy.json"
_RENAMED = {("search", "update"): ("search", "reconstruction")}  # fields of a configuration
_ADDED = {"train": {"sparsity_strength": 1e-4}, "finetune": {"sparsity_strength": 1e-4}}
"""Fields that are new, with what they were like before; those that were empty need not be here."""

_known: dict[tuple[str, int, int], dict[str, Any]] = {}  # fingerprints by path, size and time


def read(folder: Path) -> dict[str, Any]:
    """What `metrics.json` holds; of a new folder, that nothing was run.

    Raises:
        ValueError: If it is damaged, with what to do.
    """
    file, copy = folder / "metrics.json", folder / _COPY
    if not file.exists():
        return {"created": datetime.date.today().isoformat(), "stages": []}
    try:
        return loads(file.read_text())
    except ValueError as error:
        way_out = "Remove it"
        with contextlib.suppress(OSError, ValueError):
            loads(copy.read_text())
            way_out = f"Put its copy {copy} in its place"
        raise ValueError(
            f"{file} is no valid JSON ({error}). {way_out}, or choose another --workdir."
        ) from None


def write(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Writes `metrics.json` with its checksum, and a copy of it."""
    content = {name: value for name, value in metrics.items() if name != "checksum"}
    text = json.dumps({**content, "checksum": files.checksum(content)}, indent=1)
    files.write_text(folder / "metrics.json", text)
    files.write_text(folder / _COPY, text, durable=False)


def loads(text: str) -> dict[str, Any]:
    """Reads the text of a `metrics.json`.

    Raises:
        ValueError: If it is none; says what is wrong.
    """
    try:
        metrics = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(metrics, dict):
        raise ValueError("it holds no JSON object")
    metrics.setdefault("stages", [])
    for name in _MAPPINGS:
        if not isinstance(metrics.get(name), dict | None):
            raise ValueError(f"its entry '{name}' is no object")
    stages = metrics["stages"]
    if not isinstance(stages, list) or not all(map(_is_stage, stages)):
        raise ValueError("its entry 'stages' is no list of stages")
    if not all(map(_is_fingerprint, (metrics.get("files") or {}).values())):
        raise ValueError("its entry 'files' holds other things than sizes and digests")
    return metrics


def modern(config: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's part of the configuration with today's fields, under today's names."""
    config = {
        name: {**_ADDED.get(name, {}), **v} if isinstance(v, dict) else v
        for name, v in config.items()
    }
    for (part, old), (place, new) in _RENAMED.items():
        if isinstance(config.get(part), dict) and old in config[part]:
            config[place][new] = config[part].pop(old)
    return config


def damage(path: Path, expected: Mapping[str, Any] | None) -> str | None:
    """What is wrong with a file that is there; `None` if nothing is."""
    if expected is None:  # of an earlier version
        return "it is empty" if path.is_file() and not path.stat().st_size else None
    found = _fingerprint(path)
    if found["bytes"] != expected["bytes"]:
        return f"it has {found['bytes']:,} bytes, and had {expected['bytes']:,} when it was written"
    if found["sha256"] != expected["sha256"]:
        return "its content is not what was written"
    return None


def _fingerprint(path: Path) -> dict[str, Any]:
    """As `files.fingerprint`; of a file that is as it was not read again."""
    status = os.stat(path)
    key = (str(path), status.st_size, status.st_mtime_ns)
    if path.is_dir() or key not in _known:
        _known[key] = files.fingerprint(path)
    return _known[key]


def _is_stage(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and isinstance(entry.get("seconds"), int | float | None)
        and isinstance(entry.get("config", {}), dict)
    )


def _is_fingerprint(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("bytes"), int)
        and isinstance(entry.get("sha256"), str)
    )
