"""Searches with several processes on this machine: a chief and workers, each `tfrcp search`.

tfrcp launch --workers=2 --config=digits_resnet20 [--config.FIELD=VALUE] [...]

A process that is killed is started again. The training stage must have been run before. Where the
launcher ends, for whatever reason, so do they.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from absl import flags

from tfrcp.commands import base

_PACKAGE = Path(__file__).parents[1]  # a folder that Python runs, by its __main__.py
_RESTARTS = 10  # of one process, after which it is not by chance that it is killed
_PATIENCE = 10  # seconds that a process has to end when it is asked to
_PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent ends


def run() -> None:
    """Defines the flags and runs the command."""
    base.define_config()
    flags.DEFINE_integer("workers", 2, "Number of workers.", lower_bound=1, upper_bound=1024)
    arguments = _without_workers(sys.argv[1:])
    base.run(lambda: _main(arguments), "config", "workdir", "workers")


def _main(arguments: list[str]) -> None:
    """Starts the processes, and starts again those that are killed."""
    common_environment = {
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": str(_free_port()),
        "TFRCP_SECRET": secrets.token_hex(32),  # nobody else on this machine knows it
        # Workers share the processors, and a GPU's memory.
        "TF_NUM_INTRAOP_THREADS": str(max(1, (os.cpu_count() or 1) // flags.FLAGS.workers)),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    command = [sys.executable, str(_PACKAGE), "search", *arguments]

    end_with_parent = functools.partial(_end_with_parent, os.getpid())

    def start(name: str) -> subprocess.Popen:
        environment = {**os.environ, **common_environment, "KERASTUNER_TUNER_ID": name}
        return subprocess.Popen(command, env=environment, preexec_fn=end_with_parent)

    names = ["chief", *(f"worker{index}" for index in range(flags.FLAGS.workers))]
    running, restarts = {}, dict.fromkeys(names, 0)
    try:
        for name in names:
            running[name] = start(name)
        while "chief" in running:
            time.sleep(0.2)
            for name, process in list(running.items()):
                status = process.poll()
                if status is None:
                    continue
                del running[name]
                if status == 128 + signal.SIGTERM:
                    status = -signal.SIGTERM  # it was asked to end, though not by us
                if status > 0:
                    sys.exit(status)  # It has said why.
                if status < 0:
                    restarts[name] += 1
                    if restarts[name] > _RESTARTS:
                        raise RuntimeError(f"{name} was killed {restarts[name]} times")
                    print(f"{name} was killed by signal {-status}; it is started again", flush=True)
                    running[name] = start(name)
        for process in running.values():  # Workers leave by themselves, once they have been told.
            process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _end(list(running.values()))


def _end(processes: list[subprocess.Popen]) -> None:
    """Asks processes to end, and sees to it that they do."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + _PATIENCE
    for process in processes:
        try:
            process.wait(timeout=max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_parent(parent: int) -> None:
    """Asks the system to end this process where the launcher is killed.

    Args:
        parent: Process id of the launcher, which may have been killed before this was asked.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGTERM)


def _without_workers(arguments: list[str]) -> list[str]:
    """A command line without the number of workers."""
    rest, kept = iter(arguments), []
    for argument in rest:
        name, equals, _ = argument.lstrip("-").partition("=")
        if name != "workers":
            kept.append(argument)
        elif not equals:
            next(rest, None)
    return kept


def _free_port() -> int:
    """A free port that the system does not give to clients, one of which may be first."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as found, contextlib.suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("No free port was found between 20000 and 32000.")
