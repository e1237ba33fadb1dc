"""The folder of a run: what its stages leave behind, and which of them are complete.

One process at a time writes here: it locks the folder, reads, then writes. What a stage makes is
written under hidden names; one write of `metrics.json` records the stage as complete, with the
fingerprints of its files, which then get their names. A process that is killed in between has that
done by the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from tfrcp import files
from tfrcp.run import records
from tfrcp.run.figures import Stage
from tfrcp.run.locking import BusyError, check_place, locked


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
        self._held = 0  # how often this object has taken the lock
        self._outputs: set[str] = set()  # what the stage makes that is being run
        if shared:
            if not self.path.is_dir():
                raise ValueError(f"The working folder {path} is missing: start the chief first.")
            return
        check_place(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._tell_of_changes()
            with contextlib.suppress(BusyError), self.alone():
                if not (self.path / "metrics.json").exists():
                    self.update()
                with files.replacing(self.path / ".writable") as probe:
                    probe.write_text("")
                (self.path / ".writable").unlink(missing_ok=True)
        except OSError as error:
            raise ValueError(
                f"The working folder cannot be written: {error}. Choose another one with --workdir."
            ) from None

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    # What is recorded.

    @property
    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds; see `tfrcp.run.report` and `tfrcp.run.records`."""
        return records.read(self.path)

    @property
    def is_as_written(self) -> bool:
        """Whether `metrics.json` is what tfrcp wrote."""
        return files.is_as_written(self.metrics)

    def _tell_of_changes(self) -> None:
        if not self.is_as_written:
            print(
                f"note: {self.path / 'metrics.json'} was edited or is damaged: it is not what "
                "tfrcp wrote. Its figures are taken as they are",
                flush=True,
            )

    def update(self, **parts: Any) -> None:
        """Replaces top-level entries of `metrics.json`."""
        records.write(self.path, {**self.metrics, **parts})

    # What stages make.

    def write(self, name: str, text: str) -> None:
        """Writes a text file in one step: it is whole or as it was.

        Like every output of the stage that is being run, it gets its name when the stage is over.
        """
        files.write_text(self._target(name), text)

    def save_model(self, name: str, model: keras.Model) -> None:
        """Writes a .keras file in one step; see `write`."""
        files.save_model(self._target(name), model)

    def publish(self, name: str, model: keras.Model, **parts: Any) -> None:
        """Writes a .keras file together with entries of `metrics.json`."""
        files.save_model(self._hidden(name), model)
        self._commit([name], **parts)

    def _target(self, name: str) -> Path:
        return self._hidden(name) if name in self._outputs else self.path / name

    def _hidden(self, name: str) -> Path:
        """Where an output stands until it is recorded."""
        path = self.path / name
        return path.with_name(f".new.{path.name}")

    def _commit(self, names: Sequence[str], **parts: Any) -> None:
        """Records files and gets them their names."""
        known = dict(self.metrics.get("files") or {})
        for name in names:
            source = next((p for p in (self._hidden(name), self.path / name) if p.exists()), None)
            if source is not None:
                known[name] = files.fingerprint(source)
        self.update(**parts, files=known)
        for name in names:
            self._reveal(name)

    def _reveal(self, name: str) -> None:
        if self._hidden(name).exists():
            os.replace(self._hidden(name), self.path / name)
            files.synchronise((self.path / name).parent)

    def _recover(self) -> None:
        """Ends what a killed process had recorded, and clears what else it left."""
        for name, expected in (self.metrics.get("files") or {}).items():
            hidden = self._hidden(name)
            if hidden.exists() and records.damage(hidden, expected) is None:
                self._reveal(name)
        for folder in (self.path, self.path / "export", *self.path.glob("backup/*")):
            if folder.resolve().is_relative_to(self.path.resolve()):  # not where a link leads
                for path in (*folder.glob(".new.*"), *folder.glob(".tmp.*")):
                    files.remove(path)

    def load_model(self, name: str, stage: str) -> keras.Model:
        """Loads a .keras file that an earlier stage made.

        Raises:
            ValueError: If it is missing, or is not what that stage wrote.
        """
        path = self.path / name
        if not path.exists():
            raise ValueError(f"{path} is missing: run the stage '{stage}' first.")
        found = records.damage(path, self._fingerprint(name))
        again = f"Run the stage '{stage}' again, which rebuilds it"
        if found:
            raise ValueError(f"{path} is damaged, or was replaced: {found}. {again}.")
        try:
            return keras.models.load_model(path, compile=False)
        except Exception as error:  # whatever a damaged archive leads to
            text = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{path} cannot be read ({type(error).__name__}: {text}). Remove it. {again}."
            ) from None

    def _fingerprint(self, name: str) -> dict[str, Any] | None:
        return (self.metrics.get("files") or {}).get(name)

    # Stages.

    @contextmanager
    def stage(self, name: str, config: Mapping[str, Any], *outputs: str) -> Iterator[bool]:
        """Runs a stage unless it is complete.

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
        if self.is_complete(name, config, *outputs):
            print(f"{name}: already complete", flush=True)
            yield False
            return
        if before is not None and before.seconds is not None:
            self.set_aside(name, *outputs)
        print(f"{name}: {'resumes' if before else 'starts'}", flush=True)
        self._record(name, config, None)
        start = time.monotonic()
        self._outputs = set(outputs)
        try:
            yield True
        except FloatingPointError:
            # It diverged: what it was made with is not worth keeping, and may be changed.
            self.update(stages=[s for s in self.metrics["stages"] if s["name"] != name])
            raise
        finally:
            self._outputs = set()
        seconds = time.monotonic() - start
        self._record(name, config, round(seconds, 1), outputs)
        print(f"{name}: done in {seconds:.1f} s", flush=True)

    def set_aside(self, stage: str, *outputs: str) -> None:
        """Renames damaged results, so that nothing of the user's is overwritten."""
        for name in outputs:
            path = self.path / name
            found = records.damage(path, self._fingerprint(name)) if path.exists() else None
            if found:
                aside = path.with_name(f"{path.name}.damaged")
                files.remove(aside)
                os.replace(path, aside)
                print(
                    f"{stage}: {path} is damaged, or was replaced: {found}. It will be rebuilt; "
                    f"the old one is now {aside.name}",
                    flush=True,
                )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other processes out; the system lets go of the lock if this one is killed.

        Raises:
            BusyError: If another process is active here.
        """
        if self._held:
            self._held += 1
            try:
                yield
            finally:
                self._held -= 1
            return
        with locked(self.path):
            self._held = 1
            try:
                self._recover()
                yield
            finally:
                self._held = 0

    def check(self, name: str, config: Mapping[str, Any]) -> Stage | None:
        """What is recorded of a stage, `None` if it was never begun.

        Raises:
            ValueError: If it was begun with another configuration.
        """
        config = json.loads(json.dumps(config))
        stages = map(Stage.of, self.metrics["stages"])
        before = next((stage for stage in stages if stage.name == name), None)
        if before is None:
            return None
        changes = [  # a field that is new since then, and not set, is none
            f"{entry} was {old!r} and is now {new!r}"
            for entry, old, new in files.differences(
                records.modern(before.config), records.modern(config)
            )
            if old is not None or new
        ]
        if changes:
            raise ValueError(
                f"The stage '{name}' in {self.path} was made with another configuration: "
                f"{'; '.join(changes)}. Choose another --workdir."
            )
        return before

    def is_complete(self, name: str, config: Mapping[str, Any], *outputs: str) -> bool:
        """Whether a stage is finished and its files are there, as it wrote them; as `stage`."""
        before = self.check(name, config)
        if before is None or before.seconds is None:
            return False
        return all(map(self.is_sound, outputs))

    def is_sound(self, name: str) -> bool:
        """Whether a file is there, as it was written."""
        path = self.path / name
        return path.exists() and records.damage(path, self._fingerprint(name)) is None

    def _record(
        self,
        name: str,
        config: Mapping[str, Any],
        seconds: float | None,
        outputs: Sequence[str] = (),
    ) -> None:
        stages = [stage for stage in self.metrics["stages"] if stage["name"] != name]
        self._commit(outputs, stages=[*stages, Stage(name, seconds, dict(config)).json()])
