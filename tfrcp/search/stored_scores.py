"""The channels' scores beside the trials: criteria that look at data take minutes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfrcp import files

Scores = dict[str, np.ndarray]


def load_or_compute(file: Path, key: Mapping[str, Any], compute: Callable[[], Scores]) -> Scores:
    """The scores in a file, or newly computed ones, which are then kept there.

    So a search that resumes, and all workers of one, rank the channels alike.

    Args:
        file: The file, NAME.npz.
        key: What the scores are of, nested dict of plain values; those of another key are not used.
        compute: Scores the channels.

    Returns:
        Dict from group name to array [size].
    """
    text = json.dumps(key, sort_keys=True, default=str)
    found = _read(file, text)
    if found is None:
        found = {name: np.asarray(array) for name, array in compute().items()}
        content = io.BytesIO()
        arrays = {str(index): array for index, array in enumerate(found.values())}
        np.savez(content, key=text, names=np.array(list(found)), **arrays)
        files.write_bytes(file, content.getvalue())
    return found


def _read(file: Path, key: str) -> Scores | None:
    try:
        stored = files.read_npz(file)
        if str(stored["key"]) != key:
            return None
        return {str(name): stored[str(i)] for i, name in enumerate(stored["names"])}
    except (OSError, ValueError, KeyError):
        return None
