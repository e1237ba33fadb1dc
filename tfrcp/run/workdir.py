"""The folder of a run: what its stages leave behind, and which of them stand."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from tfrcp import files


class Workdir:
    """A folder with `metrics.json`, in which stages record what they were made from.

    Args:
        path: The folder; made if it is missing.
        shared: Whether another process keeps it, so that nothing is written here.

    Raises:
        ValueError: If it cannot be made or written, or is to be shared and missing.
    """

    def __init__(self, path: str | os.PathLike[str], *, shared: bool = False) -> None:
        self.path = Path(path).expanduser()
        if shared:
            if not self.path.is_dir():
                raise ValueError(f"The working folder {path} is missing: start the chief first.")
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            metrics = self.metrics
            if not (self.path / "metrics.json").exists():
                self.write("metrics.json", json.dumps(metrics, indent=1))
            with files.replacing(self.path / ".writable", ".writable.tmp") as probe:
                probe.write_text("")
            (self.path / ".writable").unlink(missing_ok=True)
        except OSError as error:
            raise ValueError(
                f"The working folder cannot be written: {error}. Choose another one with --workdir."
            ) from None

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds; see `tfrcp.report` for its schema."""
        file = self.path / "metrics.json"
        if not file.exists():
            return {"created": datetime.date.today().isoformat(), "stages": []}
        try:
            metrics = json.loads(file.read_text())
            if not isinstance(metrics, dict):
                raise ValueError("it holds no JSON object")
            return metrics
        except ValueError as error:
            raise ValueError(
                f"{file} is no valid JSON ({error}). Remove it, or choose another --workdir."
            ) from None

    def update(self, **parts: Any) -> None:
        """Replaces top-level entries of `metrics.json`."""
        self.write("metrics.json", json.dumps({**self.metrics, **parts}, indent=1))

    def write(self, name: str, text: str) -> None:
        """Writes a text file in one step: it is whole or as it was."""
        files.write_text(self.path / name, text)

    def save_model(self, name: str, model: keras.Model) -> None:
        """Writes a .keras file in one step."""
        files.save_model(self.path / name, model)

    def load_model(self, name: str, stage: str) -> keras.Model:
        """Loads a .keras file that an earlier stage made.

        Raises:
            ValueError: If it is missing.
        """
        if not (self.path / name).exists():
            raise ValueError(f"{self.path / name} is missing: run the stage '{stage}' first.")
        return keras.models.load_model(self.path / name, compile=False)

    @contextmanager
    def stage(self, name: str, config: Mapping[str, Any], *outputs: str) -> Iterator[bool]:
        """Runs a stage unless its result stands.

        Args:
            name: Name of the stage.
            config: The part of the configuration that determines the result.
            *outputs: Names of the files that the stage makes.

        Yields:
            Whether the stage has to be run.

        Raises:
            ValueError: If the stage was begun with another configuration, or another process is
                running a stage.
        """
        with self.alone():
            yield from self._stage(name, config, outputs)

    def _stage(
        self, name: str, config: Mapping[str, Any], outputs: Sequence[str]
    ) -> Iterator[bool]:
        before = self.check(name, config)
        if self.stands(name, config, *outputs):
            print(f"{name}: done before", flush=True)
            yield False
            return
        print(f"{name}: {'goes on' if before else 'begins'}", flush=True)
        self._record(name, config, None)
        start = time.monotonic()
        try:
            yield True
        except FloatingPointError:
            # It diverged: what it was made with is not worth keeping, and may be changed.
            self.update(stages=[s for s in self.metrics["stages"] if s["name"] != name])
            raise
        seconds = time.monotonic() - start
        self._record(name, config, round(seconds, 1))
        print(f"{name}: done in {seconds:.1f} s", flush=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other processes out; the system lets go of the lock if this one is killed.

        Raises:
            ValueError: If another process is at work here.
        """
        with open(self.path / ".lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ValueError(
                    f"Another run is at work in {self.path}. Wait for it, or choose another "
                    "--workdir."
                ) from None
            yield

    def check(self, name: str, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """What is recorded of a stage, `None` if it was never begun.

        Raises:
            ValueError: If it was begun with another configuration.
        """
        config = json.loads(json.dumps(config))
        before = next((s for s in self.metrics["stages"] if s["name"] == name), None)
        if before is None:
            return None
        changes = [  # a field that is new since then, and not set, is none
            f"{entry} was {old!r} and is now {new!r}"
            for entry, old, new in files.differences(before["config"], config)
        ]
        if changes:
            raise ValueError(
                f"The stage '{name}' in {self.path} was made with another configuration: "
                f"{'; '.join(changes)}. Choose another --workdir."
            )
        return before

    def stands(self, name: str, config: Mapping[str, Any], *outputs: str) -> bool:
        """Whether a stage is finished and its files are there; arguments as for `stage`."""
        before = self.check(name, config)
        done = before is not None and before["seconds"] is not None
        return done and all((self / output).exists() for output in outputs)

    def _record(self, name: str, config: Mapping[str, Any], seconds: float | None) -> None:
        stages = [stage for stage in self.metrics["stages"] if stage["name"] != name]
        self.update(stages=[*stages, {"name": name, "seconds": seconds, "config": config}])
