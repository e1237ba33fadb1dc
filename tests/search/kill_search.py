"""Kills a chief and its workers again and again; what they leave is compared with a quiet search.

The trials cost next to nothing, so that the store and the transport are what is tried. Processes
are forked from one that has imported TensorFlow already, and do not use it.

python -m tests.search.kill_search [--kills=30] [--workers=2] [--trials=200] [--seed=0]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path

import keras_tuner
import numpy as np

import tfrcp
from tests.search.small_search import GROUPS, network
from tfrcp.search import distributed

SCORE = keras_tuner.Objective("score", "max")


class Quick(distributed.DistributedTuner):
    """A score that is a function of the channels, in no time or after some."""

    seconds = 0.0

    def run_trial(self, trial):
        values = [trial.hyperparameters.values[name] for name in GROUPS]
        time.sleep(self.seconds * (1 + values[0] % 3))
        return {"score": float(np.log(1 + np.dot(values, [1.0, 0.7, 0.3])))}


def search(folder, traced, trials, seconds=0.0):
    graph, cost = traced
    oracle = tfrcp.RandomChannelOracle(
        tfrcp.SearchSpace(graph), cost, tfrcp.Budget(0.5, tolerance=0.3), SCORE, trials
    )
    tuner = Quick(oracle, directory=str(folder), project_name="project")
    tuner.seconds = seconds
    tuner.search()


def stored(folder):
    """Channels, exact score and status of every trial on the disk, by its id."""
    found = {}
    for file in Path(folder, "project").glob("trial_*/trial.json"):
        state = json.loads(file.read_text())
        assert file.parent.name == f"trial_{state['trial_id']}"
        values = state["hyperparameters"]["values"]
        found[state["trial_id"]] = (values, state["score"], state["status"], state["message"])
    return found


def fork(name, port, run):
    """Starts a process of the search. Returns its id."""
    process = os.fork()
    if process:
        return process
    os.environ |= {
        "KERASTUNER_TUNER_ID": name,
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": str(port),
    }
    status = 1
    try:
        run()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def disturbed(folder, traced, *, kills, workers, trials, seed):
    """Runs a search whose processes are killed at random moments and started again.

    Returns:
        Number of kills and the seconds from the last one to the end.
    """
    distributed.LEASE, distributed.HEARTBEAT = 1.0, 0.1
    random, port = np.random.default_rng(seed), free_port()
    names = ["chief", *(f"worker{index}" for index in range(workers))]

    def start(name):
        return fork(name, port, lambda: search(folder, traced, trials, seconds=0.02))

    running, killed, last = {name: start(name) for name in names}, 0, time.monotonic()
    pause = time.monotonic()
    while running:
        for name, process in list(running.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                assert status == 0, f"{name} ended with {status}"
                del running[name]
        if "chief" in running and killed < kills and time.monotonic() > pause:
            name = random.choice(list(running))
            os.kill(running[name], signal.SIGKILL)
            os.waitpid(running[name], 0)
            killed, last = killed + 1, time.monotonic()
            running[name] = start(name)
            pause = last + random.uniform(0.0, 0.3)
        assert time.monotonic() - last < 300, f"{list(running)} do not come to an end"
        time.sleep(0.01)
    return killed, time.monotonic() - last


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=30)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--trials", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=0)
    arguments = arguments.parse_args()
    graph = tfrcp.trace(network())
    traced = graph, tfrcp.CostModel(graph)
    with tempfile.TemporaryDirectory() as folder:
        quiet, other = Path(folder, "quiet"), Path(folder, "disturbed")
        search(quiet, traced, arguments.trials)
        killed, seconds = disturbed(
            other,
            traced,
            kills=arguments.kills,
            workers=arguments.workers,
            trials=arguments.trials,
            seed=arguments.seed,
        )
        expected, found = stored(quiet), stored(other)
    same = sum(found.get(name) == trial for name, trial in expected.items())
    print(
        f"{killed} kills, {seconds:.1f} s from the last one to the end; {same} of {len(expected)} "
        f"trials as in the undisturbed search, {len(found.keys() - expected.keys())} others"
    )
    sys.exit(0 if found == expected and killed == arguments.kills else 1)


if __name__ == "__main__":
    main()
