"""Kills one of two workers again and again while they train on digits; the end must be the same.

Both run bin/train.py on one working folder. The other worker ends by itself when one is killed;
then both are started again. What is left is compared with two workers that nothing disturbs: the
losses and accuracies of every epoch, and the weights.

python -m tests.training.kill_workers [--kills=3] [--epochs=4] [--seed=0]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).parents[2]


def start(folder: Path, epochs: int) -> list[subprocess.Popen]:
    """Two workers, who find each other on free ports."""
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    hosts = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    command = [
        sys.executable,
        str(REPOSITORY / "bin" / "train.py"),
        f"--config={REPOSITORY / 'configs' / 'digits_resnet20.py'}",
        f"--config.train.epochs={epochs}",
        "--config.train.warmup_epochs=1",
        "--strategy=multi_worker",
        f"--workdir={folder}",
    ]
    workers = []
    for index in range(2):
        task = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        with open(folder.parent / f"{folder.name}_worker{index}.log", "a") as log:
            workers.append(
                subprocess.Popen(
                    command,
                    env=os.environ | {"TF_CONFIG": json.dumps(task)},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
    return workers


def finish(workers: list[subprocess.Popen]) -> list[int]:
    """Exit statuses; one that hangs for ten minutes is a failure."""
    return [worker.wait(timeout=600) for worker in workers]


def epochs_of(folder: Path) -> int:
    """How many epochs stand in the training's table."""
    table = folder / "logs" / "base.csv"
    return len(table.read_text().splitlines()) - 1 if table.exists() else 0


def result(folder: Path) -> tuple[dict, list[np.ndarray]]:
    """The history without times, and the weights."""
    import keras

    metrics = json.loads((folder / "metrics.json").read_text())
    history = metrics["training"]["base"]["history"]
    model = keras.models.load_model(folder / "base.keras", compile=False)
    return {k: v for k, v in history.items() if k != "seconds"}, model.get_weights()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as root:
        quiet, killed = (Path(root) / name for name in ("quiet", "killed"))
        begun = time.monotonic()
        assert finish(start(quiet, arguments.epochs)) == [0, 0], "the quiet run failed"
        seconds = time.monotonic() - begun
        print(f"undisturbed: {seconds:.0f} s", flush=True)
        for kill in range(arguments.kills):
            workers, victim = start(killed, arguments.epochs), int(rng.integers(2))
            time.sleep(rng.uniform(0.4, 0.9) * seconds)
            if workers[victim].poll() is not None:
                print(f"kill {kill + 1}: came too late", flush=True)
                break
            workers[victim].send_signal(signal.SIGKILL)
            statuses = finish(workers)
            print(
                f"kill {kill + 1}: worker {victim}, exit statuses {statuses}, "
                f"{epochs_of(killed)} epochs done",
                flush=True,
            )
        assert finish(start(killed, arguments.epochs)) == [0, 0], "the last run failed"
        (ours, weights), (theirs, others) = result(killed), result(quiet)
    same = all(np.array_equal(a, b) for a, b in zip(weights, others, strict=True))
    apart = max(np.abs(np.subtract(ours[name], theirs[name])).max() for name in theirs)
    print(f"weights equal: {same}; histories differ by at most {apart:.2g}")
    if apart > 1e-4:
        sys.exit("the disturbed run ended otherwise")


if __name__ == "__main__":
    main()
