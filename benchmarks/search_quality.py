"""How good the best candidate is after so many trials: random, evolution and surrogate.

A small network is trained on scikit-learn's digits. Each sampler then searches it once for every
seed, under the same budget: candidates inherit their weights by the L1 norm, are reconstructed by
least squares, and are scored on the same holdout images. Nothing is raced or trained further. Shown
is the best score so far, its mean over the seeds and the standard deviation; and the mean accuracy
of the winners on test images, which chose nothing.

Measured (ResNet-20, 12 epochs of training, 30 % of the MACs, 60 trials, 5 seeds;
cross-entropy of the unpruned network 0.0965): the best is 0.381 ± 0.029 of random candidates,
0.366 ± 0.019 of evolution and 0.301 ± 0.008 of the surrogate; the winners classify 85.5,
86.4 and 88.8 % of the test images correctly. The first 20 trials are the same random ones.

python benchmarks/search_quality.py [--trials=60] [--seeds=5] [--flops=0.3]
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is imported

import numpy as np  # noqa: E402
from common import picture, plain_parser, write  # noqa: E402


def main() -> None:
    arguments = plain_parser(__doc__)
    arguments.add_argument("--trials", type=int, default=60)
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--flops", type=float, default=0.3, help="share of the MACs")
    arguments.add_argument("--epochs", type=int, default=12)
    arguments.add_argument("--network", default="resnet20", help="a CIFAR network in tfrcp.models")
    arguments.add_argument(
        "--objective", default="val_loss", help="or val_accuracy, which is coarse"
    )
    arguments = arguments.parse_args()

    from tfrcp import search

    kinds = {
        "random": search.RandomSampler,
        "evolution": search.EvolutionarySampler,
        "surrogate": search.SurrogateSampler,
    }
    task = Task(arguments)
    print(f"unpruned: {task.describe(task.full)}")
    curves: dict[str, np.ndarray] = {}
    tests: dict[str, list[float]] = {}
    for name, kind in kinds.items():
        runs, tests[name] = [], []
        for seed in range(arguments.seeds):
            scores, winner = task.search(kind, arguments.trials, seed)
            runs.append(np.maximum.accumulate(scores) * task.sign)
            tests[name].append(task.accuracy(winner))
            print(f"{name}, seed {seed}: {runs[-1][-1]:.4f}", flush=True)
        curves[name] = np.array(runs)

    marks = sorted({m for m in (10, 20, 30, 40, 60, 100, 200) if m < arguments.trials})
    marks.append(arguments.trials)
    print(f"\nbest {arguments.objective} after so many trials, mean and deviation of the seeds")
    print(f"{'':11}" + "".join(f"{mark:>16}" for mark in marks) + f"{'test accuracy':>16}")
    for name, runs in curves.items():
        cells = (f"{runs[:, m - 1].mean():.4f} ± {runs[:, m - 1].std():.4f}" for m in marks)
        print(f"{name:11}" + "".join(f"{c:>16}" for c in cells) + f"{np.mean(tests[name]):16.1%}")
    results = {name: runs.tolist() for name, runs in curves.items()}
    file = write(arguments, "search_quality", {"best_so_far": results, "test_accuracy": tests})
    title = f"{arguments.network} on digits at {arguments.flops:.0%} of the MACs"
    plot(curves, f"best {arguments.objective} so far", title, file.with_suffix(".png"))


class Task:
    """A trained network, and what scores its candidates."""

    def __init__(self, arguments: Any) -> None:
        import keras

        import tfrcp
        from tfrcp import criteria
        from tfrcp.data import load
        from tfrcp.reconstruction import CachedLeastSquares
        from tfrcp.scoring import objectives
        from tfrcp.scoring.evaluator import ProgramEvaluator

        keras.utils.set_random_seed(arguments.seed)
        data = load("digits", holdout=0.3, seed=arguments.seed)
        x, y = data.train.arrays()
        self._test = data.test.arrays()
        model = getattr(tfrcp.models, arguments.network)(
            input_shape=data.input_shape, classes=data.classes, seed=arguments.seed
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(2e-3), loss=loss)
        model.fit(x, y, epochs=arguments.epochs, batch_size=64, verbose=0)
        self.graph = tfrcp.trace(model)
        self.full, self.cost = self.graph.full, tfrcp.CostModel(self.graph)
        self.space, self.budget = tfrcp.SearchSpace(self.graph), tfrcp.Budget(arguments.flops)
        metric = objectives.get(model, arguments.objective)
        self.sign = 1 if metric.higher_is_better else -1
        calibration = x[:256]
        self._evaluator = ProgramEvaluator(
            model,
            self.graph,
            criteria.get("l1")(model, self.graph),
            data.holdout.arrays(),
            metric,
            calibration,
            reconstruction=CachedLeastSquares(model, self.graph, calibration, verbose=False),
        )

    def search(self, kind: Any, trials: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores in the order of the trials, higher is better, and the best channel vector."""
        from tfrcp.search import loop

        sampler = kind(self.space, self.cost, self.budget, seed)
        found = loop.run(sampler, lambda v: self.sign * self._evaluator.score(v).value, trials)
        return found.scores, found.best

    def accuracy(self, channels: np.ndarray) -> float:
        """Accuracy on the test images."""
        x, y = self._test
        outputs = self._evaluator.build(channels).predict(x, batch_size=250, verbose=0)
        return float((outputs.argmax(axis=1) == y).mean())

    def describe(self, channels: np.ndarray) -> str:
        """Score and accuracy in words."""
        score = self._evaluator.score(channels).value
        return (
            f"{score:.4f} on the holdout images, {self.accuracy(channels):.1%} of the test images"
        )


def plot(curves: dict[str, np.ndarray], label: str, title: str, file: Path) -> None:
    with picture(file, 7, 4.2) as axes:
        colors = ("#4477aa", "#ee6677", "#228833")
        for (name, runs), color in zip(curves.items(), colors, strict=True):
            trials = np.arange(1, runs.shape[1] + 1)
            axes.plot(trials, runs.mean(axis=0), color=color, label=name)
            axes.fill_between(
                trials, runs.min(axis=0), runs.max(axis=0), color=color, alpha=0.15, lw=0
            )
        lows = min(runs[:, 4:].min() for runs in curves.values())
        highs = max(runs[:, 4:].max() for runs in curves.values())
        room = 0.05 * (highs - lows)
        axes.set(xlabel="trials", ylabel=label, title=title, ylim=(lows - room, highs + room))
        axes.legend(
            frameon=False, title=f"mean and range of {len(next(iter(curves.values())))} seeds"
        )


if __name__ == "__main__":
    main()
