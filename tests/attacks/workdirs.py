"""Stages that are killed or run out of disk; they are none of a real job, but write like those."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import shutil
import signal
import time
from unittest import mock

import numpy as np

from tests.attacks.damages import generator
from tests.attacks.tally import require
from tfrcp import files
from tfrcp.run.workdir import Workdir

_STAGES = {"one": ("a.json",), "two": ("b.keras", "c.json"), "three": ("d.keras",)}


class _Network:
    """What is saved like a network: much, in parts, so that there are moments to be hit."""

    def __init__(self, name):
        self.content = np.random.default_rng(len(name)).bytes(200_000)

    def save(self, path):
        with open(path, "wb") as file:
            for start in range(0, len(self.content), 20_000):
                file.write(self.content[start : start + 20_000])


def work(folder):
    """Stages that write as those of a run do."""
    workdir = Workdir(folder)
    for stage, names in _STAGES.items():
        with workdir.stage(stage, {"seed": 0}, *names) as needed:
            for name in names if needed else ():
                if name.endswith(".keras"):
                    workdir.save_model(name, _Network(name))
                else:
                    workdir.write(name, name * 5000)
            if needed:
                workdir.update(**{f"figure_{stage}": len(names)})


def check_finished(folder):
    """Every result is there, recorded, whole, and nothing else."""
    workdir = Workdir(folder)
    names = {name for names in _STAGES.values() for name in names}
    require(all(map(workdir.is_sound, names)), "a result is not as recorded")
    for name in names:
        expected = _Network(name).content if name.endswith(".keras") else (name * 5000).encode()
        require((folder / name).read_bytes() == expected, f"{name} is wrong")
    require([s["name"] for s in workdir.metrics["stages"]] == list(_STAGES), "stages are lost")
    require(all(f"figure_{s}" in workdir.metrics for s in _STAGES), "figures are lost")
    left = {path.name for path in folder.iterdir()} - names
    require(left == {"metrics.json", ".metrics.copy.json", ".lock"}, f"left behind: {left}")


def kills(tally, seed, folder):
    """SIGKILL at four random moments of a process that runs stages; then they run to their end."""
    for number in tally:
        random, place = generator(seed, number), folder / f"kill{number}"

        def rounds(random=random, place=place):
            for _ in range(4):
                process = os.fork()
                if not process:
                    with contextlib.redirect_stdout(open(os.devnull, "w")):
                        try:
                            work(place)
                        finally:
                            os._exit(0)
                time.sleep(random.uniform(0.0, 0.06))
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
            work(place)
            check_finished(place)

        tally.count(f"seed {seed}, kill {number}", rounds)
        shutil.rmtree(place, ignore_errors=True)


def full_disk(tally, seed, folder):
    """A disk that is full at a random moment, and has room again."""
    for number in tally:
        random, place = generator(seed, number), folder / f"full{number}"

        def full(random=random, place=place):
            with failing(int(random.integers(1, 70))) as state:
                try:
                    work(place)
                except (OSError, ValueError) as error:
                    require("No space left" in str(error), f"another error: {error}")
                else:
                    require(not state["failed"], "a full disk went unnoticed")
            left = [p.name for p in place.glob(".tmp.*")]
            require(not left, f"left behind: {left}")
            work(place)
            check_finished(place)

        tally.count(f"seed {seed}, disk {number}", full)
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def failing(moment):
    """Lets the disk be full at the so-many-th call that writes, after half of it."""
    state = {"left": moment, "failed": False}

    def wrap(call, half=None):
        def called(*args, **kwargs):
            state["left"] -= 1
            if state["left"] == 0:
                state["failed"] = True
                if half:
                    half(*args)
                raise OSError(errno.ENOSPC, "No space left on device")
            return call(*args, **kwargs)

        return called

    texts, save = pathlib.Path.write_text, _Network.save
    with (
        mock.patch.object(
            pathlib.Path, "write_text", wrap(texts, lambda p, t, *_: texts(p, t[: len(t) // 2]))
        ),
        mock.patch.object(_Network, "save", wrap(save, lambda n, p: p.write_bytes(b"half"))),
        mock.patch.object(files.os, "fsync", wrap(os.fsync)),
        mock.patch.object(files.os, "replace", wrap(os.replace)),
    ):
        yield state
