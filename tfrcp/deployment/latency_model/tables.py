"""Tables of measured times of segments, kept on disk for every machine that they were made on."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrcp import files

VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Times of one kind of segment.

    Attributes:
        inputs: float array [n], input channels, ascending.
        outputs: float array [m], output channels that it adds, ascending.
        times: float array [n, m], milliseconds per image.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    times: np.ndarray

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Times at counts [2, N], interpolated linearly in both, float array [N].

        Outside of the table its outermost cells go on, but never below 0.
        """
        (i, u), (j, v) = (
            _cell(grid, values)
            for grid, values in zip((self.inputs, self.outputs), counts, strict=True)
        )
        after = np.minimum(i + 1, len(self.inputs) - 1), np.minimum(j + 1, len(self.outputs) - 1)
        low = (1 - v) * self.times[i, j] + v * self.times[i, after[1]]
        high = (1 - v) * self.times[after[0], j] + v * self.times[after[0], after[1]]
        return np.maximum((1 - u) * low + u * high, 0)

    def bilinear(self) -> np.ndarray:
        """Least squares fit a + b i + c o + d i o over the table, float array [4]."""
        i, o = (grid.ravel() for grid in np.meshgrid(self.inputs, self.outputs, indexing="ij"))
        features = np.stack([np.ones_like(i), i, o, i * o], axis=1)
        return np.linalg.lstsq(features, self.times.ravel(), rcond=None)[0]


def _cell(grid: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the grid point below each value, and how far it is to the next, as a share."""
    if len(grid) == 1:
        return np.zeros(len(values), dtype=int), np.zeros(len(values))
    index = np.clip(np.searchsorted(grid, values, side="right") - 1, 0, len(grid) - 2)
    return index, (values - grid[index]) / (grid[index + 1] - grid[index])


def machine() -> dict[str, Any]:
    """What times depend on beside the network: processor, cores, devices and versions."""
    versions = {}
    for name in ("tensorflow", "keras", "ai-edge-litert", "onnxruntime"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    gpus = tf.config.list_physical_devices("GPU")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "gpus": [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus],
        "system": platform.platform(),
        "versions": versions,
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def default_folder() -> Path:
    """Where tables are kept: `$XDG_CACHE_HOME/tfrcp`, by default `~/.cache/tfrcp`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tfrcp"


class Cache:
    """A file of measurements made under the same conditions on the same machine.

    Args:
        folder: Where the file is; `None` to keep nothing.
        conditions: What else the times depend on: format, batch size, threads.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, conditions: dict[str, Any]) -> None:
        self.about = {"version": VERSION, "machine": machine(), **conditions}
        text = json.dumps(self.about, sort_keys=True)
        name = f"latency-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        self.file = None if folder is None else Path(folder) / name
        self._entries: dict[str, Any] = {}
        # A file that cannot be read is made anew.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(self.file.read_text()) if self.file else {"about": None}
            if content["about"] == self.about:
                self._entries = dict(content["entries"])

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        """The entry of a key; made, and kept, if it is not there."""
        if key not in self._entries:
            self._entries[key] = make()
            self._write()
        return self._entries[key]

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def _write(self) -> None:
        if self.file is None:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        content = {"about": self.about, "entries": self._entries}
        files.write_text(self.file, json.dumps(content))
