"""A real job whose commands are run, struck and looked at.

Commands run in processes that are forked from one that has imported TensorFlow and not used it, so
that a command takes a second or two.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
import zipfile
from pathlib import Path

import h5py
import keras  # noqa: F401  imported before the processes are forked
import keras_tuner  # noqa: F401
import matplotlib.figure  # noqa: F401
import numpy as np

import tfrcp.commands.stages
import tfrcp.run  # noqa: F401
from tests.attacks.tally import require
from tests.small_run import STAGES, arguments, write_inputs
from tfrcp import cli, files
from tfrcp.deployment import formats  # noqa: F401

#: What each stage makes.
MADE = {
    "train": ("base.keras",),
    "search": ("pruned.keras", "channels.json"),
    "finetune": ("finetuned.keras",),
    "evaluate": (),
    "export": ("export/saved_model",),
}
#: Seconds without any of a processor's time, and seconds of it, after which a command is held to
#: hang: by the clock alone it is not told from one that shares the machine with many.
_IDLE, _BUSY = 300.0, 200.0
_HIDDEN = {".lock", ".metrics.copy.json"}
_SIGNALLED = {signal.SIGTERM: "terminated;", signal.SIGINT: "interrupted;"}


class Job:
    """A finished run, and the folder before each of its stages.

    Args:
        folder: An empty folder for them.

    Attributes:
        finished: The folder of the finished run.
        before: Maps commands to the folder as it is before; "prune" begins with an empty one.
        writes: Maps commands to the number of calls that change names or synchronise.
        seconds: Maps commands to the seconds that they take.
    """

    def __init__(self, folder):
        self.inputs, self.finished = folder / "inputs", folder / "finished"
        self.inputs.mkdir()
        self.before, self.writes, self.seconds = {}, {}, {}
        end(_fork(lambda: write_inputs(self.inputs), folder / "inputs.log"))
        self.finished.mkdir()
        for stage in (*STAGES, "report"):
            self.before[stage] = folder / f"before_{stage}"
            shutil.copytree(self.finished, self.before[stage])
            command, start = "prune" if stage == "report" else stage, time.monotonic()
            status, log = self.run(command, self.finished, (10**9, 0, False))
            require(status == 0, f"{command} ended with {status}: {log[-1000:]}")
            self.seconds[stage] = time.monotonic() - start
            self.writes[stage] = int(log.split("writes: ")[-1].split()[0])
        self.before["prune"] = self.before["train"]
        self.writes["prune"] = sum(self.writes.values())
        self.seconds["prune"] = sum(self.seconds.values())

    def start(self, command, place, strike=None, most=None):
        """Starts a command on a folder. Returns its process id.

        Args:
            command: Its name.
            place: The folder.
            strike: See `_struck`.
            most: Bytes that a file may hold.
        """

        def run():
            if most is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            more = ["--workers=1"] if command == "launch" else []
            sys.argv = [f"tfrcp {command}", *more, *arguments(self.inputs, place)]
            with _struck(*strike) if strike else contextlib.nullcontext():
                cli.run(command, f"tfrcp {command}")

        return _fork(run, log_of(place))

    def run(self, command, place, strike=None, most=None):
        """Runs a command to its end. Returns its status and what it printed."""
        log = log_of(place)
        log.unlink(missing_ok=True)
        status = end(self.start(command, place, strike, most))
        return status, log.read_text(errors="replace")

    def check(self, place, stages):
        """Holds what stages made against the finished run; nothing else may be there."""
        ours, theirs = (
            json.loads((p / "metrics.json").read_text()) for p in (place, self.finished)
        )
        for stage in stages:
            for name in MADE[stage]:
                recorded = ours["files"][name]
                require(files.fingerprint(place / name) == recorded, f"{name} is not as recorded")
                require(_content(place / name) == _content(self.finished / name), f"another {name}")
        for stage, (part, *path) in _FIGURES:
            if stage in stages:
                found, expected = ours[part], theirs[part]
                for name in path:
                    found, expected = found[name], expected[name]
                require(_timeless(found) == _timeless(expected), f"other figures: {part} {path}")
        left = {p.name for p in place.rglob(".*")} - _HIDDEN
        require(not left, f"left behind: {sorted(left)}")


_FIGURES = (
    ("train", ("training", "base", "history")),
    ("search", ("search",)),
    ("search", ("channels",)),
    ("finetune", ("training", "finetune", "history")),
    ("evaluate", ("results", "before")),
    ("evaluate", ("results", "after")),
)


def _timeless(value):
    """Figures without those of time."""
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if not k.startswith(("seconds", "laten"))}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def _content(path):
    """What must be the same: all weights of a .keras file, all text of another."""
    if path.suffix == ".json":
        return path.read_bytes()
    if path.suffix != ".keras":
        return sorted(p.relative_to(path).as_posix() for p in path.rglob("*"))
    found = []
    with zipfile.ZipFile(path) as archive:
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
            weights.visititems(
                lambda name, x: (
                    found.append((name, np.asarray(x).tobytes()))
                    if isinstance(x, h5py.Dataset)
                    else None
                )
            )
    return found


def check_told(status, log, sent=0):
    """A process ended as it should: well, by the signal that was sent, or with a line.

    Before Python has a handler of its own the signal itself ends a process, which has then printed
    nothing.
    """
    require("Traceback" not in log, f"a traceback: {log[-800:]}")
    if sent in _SIGNALLED and status == -sent:
        require(not log, f"ended by {sent} itself, although it had begun: {log[-800:]}")
    elif sent in _SIGNALLED and status:
        require(status == 128 + sent, f"ended with {status} after {sent}: {log[-800:]}")
        require(_SIGNALLED[sent] in log.splitlines()[-1], f"ended with: {log[-300:]}")
    elif sent:
        require(status in (0, -signal.SIGKILL), f"ended with {status}: {log[-800:]}")
    else:
        require(status in (0, 1), f"ended with {status}: {log[-800:]}")
        if status:
            last = log.strip().splitlines()[-1]
            require(last.startswith("error: "), f"ended with: {log[-800:]}")


def log_of(place):
    """Where the output of a folder's commands is written."""
    return place.with_name(f"{place.name}.log")


def _fork(run, log):
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1), os.dup2(handle, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)


def end(process):
    """Waits for the end of a process, which is killed where it hangs. Returns its status."""
    used, since = -1.0, time.monotonic()
    while used < _BUSY and time.monotonic() < since + _IDLE:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        now = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
        if now > used:
            used, since = now, time.monotonic()
        time.sleep(0.05)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    raise AssertionError(f"it hangs, after {used:.0f} s of a processor")


_CALLS = ("replace", "rename", "fsync", "unlink", "mkdir", "rmdir")


class _struck:
    """Sends a signal to the process itself at one of its calls that change names or synchronise.

    Args:
        moment: Number of the call.
        sent: The signal.
        after: Whether the call is done before.
    """

    def __init__(self, moment, sent, after):
        self.moment, self.sent, self.after, self.count = moment, sent, after, 0

    def __enter__(self):
        for name in _CALLS:
            setattr(os, name, self._wrap(getattr(os, name)))

    def __exit__(self, *_):
        if not self.sent:  # nothing is tried: how many there are is asked
            print(f"writes: {self.count}", file=sys.stderr, flush=True)

    def _wrap(self, call):
        def called(*args, **kwargs):
            self.count += 1
            now = self.count == self.moment
            if now and not self.after:
                os.kill(os.getpid(), self.sent)
            found = call(*args, **kwargs)
            if now and self.after:
                os.kill(os.getpid(), self.sent)
            return found

        return called
