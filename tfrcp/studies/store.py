"""Results of units of work in a folder that several processes and machines share.

A result is one small JSON file, NAME.json, written in one step. Whoever works on NAME holds a
claim, a file NAME.claim.0 that was created exclusively (which is atomic on NFS as well, from
version 3), and touches it every few seconds. A claim that is not touched any more is that of a
process that was killed: it is taken over by NAME.claim.1, created likewise, and so on. So nothing
is deleted while others look, and no clocks are compared: a claim counts as abandoned if its time
of change stays the same for a while of the observer's own clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tfrcp import files

HEARTBEAT = 5.0  # seconds between two signs of life
LEASE = 30.0  # seconds without one after which a claim is taken over
_PATIENCE = 10.0  # seconds until one who waits says so
_POLL = 0.5  # seconds until one who has nothing to do looks again

Work = Callable[[], dict[str, Any]]


class Store:
    """A folder of results.

    Args:
        path: The folder; made if missing.
        heartbeat: Seconds between two signs of life of one who works.
        lease: Seconds without a sign after which the work is taken over by another.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, heartbeat: float = HEARTBEAT, lease: float = LEASE
    ) -> None:
        self.path = Path(path)
        self._heartbeat, self._lease = heartbeat, lease
        self._seen: dict[Path, tuple[int, float]] = {}
        self.path.mkdir(parents=True, exist_ok=True)

    def get(self, name: str) -> dict[str, Any] | None:
        """The result of a unit of work, `None` if there is none yet."""
        try:
            return dict(json.loads((self.path / f"{name}.json").read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{self.path / name}.json is no valid JSON object ({error}). Remove it."
            ) from None

    def run(
        self,
        works: Mapping[str, Work],
        on_result: Callable[[str, dict[str, Any]], None] = lambda name, result: None,
    ) -> dict[str, dict[str, Any]]:
        """Does all units of work that nobody has done or is doing, and waits for the others'.

        Args:
            works: Maps names, which become names of files, to functions that give a result that
                JSON can hold. One that raises an `Exception` leaves the result {"error": why},
                which is complete like any other; remove its file to have it tried again.
            on_result: Called with the name and the result of what was done here.

        Returns:
            The results, in the order of `works`.
        """
        waiting = None
        while left := [name for name in works if not self.is_complete(name)]:
            done = 0
            for name in left:
                if self.is_complete(name):
                    continue
                with self._claim(name) as claim:
                    if claim is not None:
                        result = _attempt(works[name])
                        if claim.holds() and not self.is_complete(name):
                            self._write(name, result)
                        done += 1
                        on_result(name, result)
            if done:
                waiting = None
                continue
            if waiting is None:
                waiting = time.monotonic()
            elif waiting and time.monotonic() - waiting > _PATIENCE:
                print(f"waits for what another does: {self.path.name}/{left[0]}", flush=True)
                waiting = 0.0
            time.sleep(min(_POLL, self._lease / 4))
        results = {name: self.get(name) for name in works}
        return {name: result for name, result in results.items() if result is not None}

    def is_complete(self, name: str) -> bool:
        """Whether there is a result."""
        return (self.path / f"{name}.json").exists()

    def _write(self, name: str, result: Mapping[str, Any]) -> None:
        files.write_text(self.path / f"{name}.json", json.dumps(result))

    @contextlib.contextmanager
    def _claim(self, name: str) -> Iterator[_Claim | None]:
        """The right to do a piece of work; `None` if another has it."""
        file = self._next(name)
        claim = None if file is None else _Claim.take(file, self._heartbeat)
        if claim is None:
            yield None
            return
        try:
            # The result may have come after the look and before the claim.
            yield None if self.is_complete(name) else claim
        finally:
            claim.release()

    def _next(self, name: str) -> Path | None:
        """The file to create for a claim; `None` while one who has the last claim is alive."""
        number = 0
        while (self.path / f"{name}.claim.{number}").exists():
            number += 1
        if number:
            last = self.path / f"{name}.claim.{number - 1}"
            if not self._abandoned(last):
                return None
        return self.path / f"{name}.claim.{number}"

    def _abandoned(self, file: Path) -> bool:
        """Whether a claim has not changed for the time of a lease."""
        try:
            with open(file) as opened:  # On NFS opening asks the server for the time of change.
                changed = os.fstat(opened.fileno()).st_mtime_ns
        except FileNotFoundError:
            return False  # Released this moment.
        before, since = self._seen.get(file, (None, 0.0))
        if before != changed:
            self._seen[file] = changed, time.monotonic()
            return False
        return time.monotonic() - since > self._lease


class _Claim:
    """A claim that is held: a thread touches its file."""

    def __init__(self, file: Path, heartbeat: float) -> None:
        self._file, self._over = file, threading.Event()
        self._thread = threading.Thread(target=self._touch, args=(heartbeat,), daemon=True)
        self._thread.start()

    @classmethod
    def take(cls, file: Path, heartbeat: float) -> _Claim | None:
        """Creates the file, unless another was faster."""
        try:
            descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return None
        os.write(descriptor, f"{socket.gethostname()} {os.getpid()}\n".encode())
        os.close(descriptor)
        return cls(file, heartbeat)

    def holds(self) -> bool:
        """Whether nobody has taken it over, as after a long sleep of this machine."""
        stem, number = str(self._file).rsplit(".", 1)
        return self._file.exists() and not os.path.exists(f"{stem}.{int(number) + 1}")

    def release(self) -> None:
        """Ends the signs of life; what is abandoned here others may do at once."""
        self._over.set()
        self._thread.join()
        if self.holds():
            self._file.unlink(missing_ok=True)

    def _touch(self, heartbeat: float) -> None:
        while not self._over.wait(heartbeat):
            with contextlib.suppress(OSError):  # A server that is away for a moment.
                os.utime(self._file)


def _attempt(work: Work) -> dict[str, Any]:
    try:
        return work()
    except Exception as error:  # whatever a function of the user's does
        text = str(error).strip() or "no message"
        return {"error": f"{type(error).__name__}: {text[:1000]}"}
