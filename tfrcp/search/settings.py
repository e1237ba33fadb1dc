"""What a search was made with: kept beside its trials, and compared when it resumes."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tfrcp import files

_ADDED = ("scored_by",)  # which searches of before have not written down
_DATA = ("calibration_data", "validation_data")


def write(file: Path, settings: Mapping[str, Any]) -> None:
    """Writes settings in one step."""
    files.write_text(file, json.dumps(settings, indent=1, default=_plain))


def check(file: Path, settings: Mapping[str, Any], *, later: Collection[str] = ()) -> None:
    """Compares settings with those of an earlier process; without any there is nothing to say.

    Args:
        file: The file.
        settings: Nested dict of plain values.
        later: Names of entries that are not known yet.

    Raises:
        ValueError: If an entry differs, with both values.
    """
    try:
        before = dict(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return
    before = {name: value for name, value in before.items() if name not in later}
    now = json.loads(json.dumps(settings, default=_plain))
    now = {name: value for name, value in now.items() if name not in later}
    now = {name: v for name, v in now.items() if name in before or name not in _ADDED}
    for path, old, new in files.differences(before, now):
        hint = "another project name, or `overwrite=True`"
        if path in _DATA:
            hint = (
                f"the same examples again (a dataset that shuffles gives others each time), {hint}"
            )
        raise ValueError(
            f"The search in {file.parent} was made with another model, space, budget, seed or way "
            f"of scoring: its `{path}` has {old!r}, and this search would have {new!r}. Take "
            f"{hint}."
        )


def _plain(number: Any) -> Any:
    return number.item()  # of NumPy's
