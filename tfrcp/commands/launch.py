"""Searches with several processes on this machine: a chief and workers, each `tfrcp search`.

tfrcp launch --workers=2 --config=digits_resnet20 [--config.FIELD=VALUE] [...]

A process that is killed is started again. The training stage must have been run before.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from absl import flags

from tfrcp.commands import base

_PACKAGE = Path(__file__).parents[1]  # a folder that Python runs, by its __main__.py
_RESTARTS = 10  # of one process, after which it is not by chance that it is killed


def run() -> None:
    """Defines the flags and runs the command."""
    base.define_config()
    flags.DEFINE_integer("workers", 2, "Number of workers.", lower_bound=1)
    base.run(_main, "config", "workdir", "workers")


def _main() -> None:
    """Starts the processes, and starts again those that are killed."""
    common_environment = {
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": str(_free_port()),
        # Workers share the processors, and a GPU's memory.
        "TF_NUM_INTRAOP_THREADS": str(max(1, (os.cpu_count() or 1) // flags.FLAGS.workers)),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    command = [sys.executable, str(_PACKAGE), "search", *_arguments()]

    def start(name: str) -> subprocess.Popen:
        environment = {**os.environ, **common_environment, "KERASTUNER_TUNER_ID": name}
        return subprocess.Popen(command, env=environment)

    names = ["chief", *(f"worker{index}" for index in range(flags.FLAGS.workers))]
    running, restarts = {name: start(name) for name in names}, dict.fromkeys(names, 0)
    try:
        while "chief" in running:
            time.sleep(0.2)
            for name, process in list(running.items()):
                status = process.poll()
                if status is None:
                    continue
                del running[name]
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
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()


def _arguments() -> list[str]:
    """The command line without the number of workers."""
    arguments, kept = iter(sys.argv[1:]), []
    for argument in arguments:
        name, equals, _ = argument.lstrip("-").partition("=")
        if name != "workers":
            kept.append(argument)
        elif not equals:
            next(arguments)
    return kept


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
