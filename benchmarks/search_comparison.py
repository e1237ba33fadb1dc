"""Ways to choose a pruned network: accuracy before and after fine-tuning, and CPU seconds.

One base, one budget. Each row chooses channel counts in its own way; all are then reconstructed
layer by layer on the same training images, tested on the same test images, and with
`--finetune_images` fine-tuned alike: SGD with momentum, one epoch, batch norms re-estimated at its
end. CPU seconds are those from the base to the pruned network, the criterion included. Nothing is
shared between rows.

    python benchmarks/search_comparison.py --network=resnet20 --data=cifar10_jpeg
        --data_dir=DIR --weights=cifar10_resnet20.npz
        [--flops=0.5] [--seeds=3] [--rows=guided,random] [--finetune_images=10000]
    python benchmarks/search_comparison.py --model=WORKDIR/base.keras --data=tiny_imagenet40
        --data_dir=DIR --mean=0.498,0.498,0.498 --std=0.502,0.502,0.502

What was measured stands in docs/method.md. A row that stands in the file of results is not run
again.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import load_splits, network, parser, write


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--flops", type=float, default=0.5, help="share of the MACs")
    arguments.add_argument("--seeds", type=int, default=1)
    arguments.add_argument("--rows", default="", help="names joined by commas; all without")
    arguments.add_argument("--trials", type=int, default=100)
    arguments.add_argument("--min_ratio", type=float, help="least share of a group's channels")
    arguments.add_argument("--holdout_images", type=int, default=500)
    arguments.add_argument("--test_images", type=int, default=3000)
    arguments.add_argument("--winner_images", type=int, default=512)
    arguments.add_argument("--adapt_images", type=int, default=0, help="train the base on these")
    arguments.add_argument("--adapt_epochs", type=int, default=1)
    arguments.add_argument("--finetune_images", type=int, default=0)
    arguments = arguments.parse_args()
    task = Task(arguments)
    print(f"unpruned: {task.tested(task.model):.1%} of the test images", flush=True)
    rows = arguments.rows.split(",") if arguments.rows else list(ROWS)
    name = f"search_comparison_{arguments.flops:g}"
    if arguments.min_ratio:
        name += f"_min_ratio_{arguments.min_ratio:g}"
    file = Path(arguments.out) / f"{name}.json"
    results = json.loads(file.read_text())["results"] if file.exists() else {}
    for row in rows:
        for seed in range(arguments.seeds):
            key = f"{row}-{seed}"
            if key not in results:
                results[key] = task.run(row, seed)
                write(arguments, name, {"results": results})
            print(f"{row:22} seed {seed}: {_line([results[key]])}", flush=True)
    print(f"\n{'':22}{'before':>14}{'fine-tuned':>14}{'CPU s':>8}")
    for row in rows:
        print(f"{row:22}{_line([results[f'{row}-{seed}'] for seed in range(arguments.seeds)])}")


def _line(results: list[dict[str, float]]) -> str:
    cells = []
    for name in ("before", "after"):
        found = [100 * result[name] for result in results if result[name] is not None]
        spread = f" ± {np.std(found, ddof=1) / len(found) ** 0.5:.1f}" if len(found) > 1 else ""
        cells.append(f"{np.mean(found):.1f}{spread}" if found else "-")
    return f"{cells[0]:>14}{cells[1]:>14}{np.mean([r['seconds'] for r in results]):8.0f}"


class Task:
    """The base, the images and the budget."""

    def __init__(self, arguments: Any) -> None:
        import tfrcp

        self.arguments = arguments
        self.model = network(arguments)
        splits = load_splits(arguments)
        images = max(2000, arguments.adapt_images, arguments.finetune_images)
        self.train = splits.train.arrays(images)
        self.holdout = splits.holdout.arrays(arguments.holdout_images)
        self.test = splits.test.arrays(arguments.test_images)
        self.budget = tfrcp.Budget(arguments.flops)
        self.floor = {"min_ratio": arguments.min_ratio} if arguments.min_ratio else {}
        self._made: dict[str, Any] = {}  # the last row's network, for further fine-tunings
        if arguments.adapt_images:
            name = f"base_{arguments.adapt_images}_{arguments.adapt_epochs}_{arguments.seed}"
            file = Path(arguments.out) / f"{name}.weights.h5"
            if not file.exists():
                self.adapt()
                file.parent.mkdir(parents=True, exist_ok=True)
                self.model.save_weights(file)
            self.model.load_weights(file)

    def run(self, row: str, seed: int) -> dict[str, Any]:
        """Accuracies on the test images and CPU seconds of one row."""
        if row not in self._made or row in _SEEDED:
            start = time.process_time()
            model = ROWS[row](self, seed)
            result = {"seconds": time.process_time() - start, "before": self.tested(model)}
            self._made = {row: (model, model.get_weights(), result)}
        model, weights, result = self._made[row]
        result = {**result, "after": None}
        if self.arguments.finetune_images:
            model.set_weights(weights)
            self.fit(model, self.arguments.finetune_images, seed)
            result["after"] = self.tested(model)
        return result

    def tested(self, model: Any) -> float:
        """Accuracy on the test images."""
        outputs = model.predict(self.test[0], batch_size=250, verbose=0)
        return float((outputs.argmax(axis=1) == self.test[1].reshape(-1)).mean())

    def fit(self, model: Any, images: int, seed: int) -> None:
        """One epoch, and the statistics of the batch norms anew."""
        import keras

        import tfrcp

        keras.utils.set_random_seed(seed)
        x, y = (array[:images] for array in self.train)
        _compile(model, -(-images // 64))
        model.fit(x, y, batch_size=64, epochs=1, verbose=0)
        tfrcp.recalibrate_batch_norm(model, x[:1000])

    def adapt(self) -> None:
        """Trains the base on images that are cropped and flipped at random."""
        import keras
        import tensorflow as tf

        import tfrcp

        def vary(x: Any, y: Any) -> Any:
            x = tf.image.random_crop(tf.pad(x, [[4, 4], [4, 4], [0, 0]]), x.shape)
            return tf.image.random_flip_left_right(x), y

        keras.utils.set_random_seed(self.arguments.seed)
        images, epochs = self.arguments.adapt_images, self.arguments.adapt_epochs
        x, y = (array[:images] for array in self.train)
        data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(images, seed=0).map(vary)
        _compile(self.model, epochs * -(-images // 64))
        self.model.fit(data.batch(64).prefetch(2), epochs=epochs, verbose=2)
        tfrcp.recalibrate_batch_norm(self.model, x[:2000])

    def searched(self, kind: Any, seed: int, **options: Any) -> Any:
        """The winner of a search."""
        from tfrcp.search.winner import choose_winner, winner_of

        images = self.arguments.winner_images
        with tempfile.TemporaryDirectory() as folder:
            tuner = kind(
                self.model,
                budget=self.budget,
                max_trials=self.arguments.trials,
                seed=seed,
                directory=folder,
                **self.floor,
                **options,
            )
            tuner.search(self.train, validation_data=self.holdout, verbose=False)
            if hasattr(tuner, "winner"):
                return winner_of(tuner).model
            return choose_winner(tuner, self.train[0][:images], verbose=False).model

    def allocated(self, allocation: Any, criterion: Any) -> Any:
        """The network of an allocation, reconstructed layer by layer."""
        import tfrcp
        from tfrcp.allocation import get

        graph = tfrcp.trace(self.model)
        cost, space = tfrcp.CostModel(graph), tfrcp.SearchSpace(graph, **self.floor)
        scores = tfrcp.criteria.get(criterion)(self.model, graph, self.train)
        score = self.scoring(graph, scores) if allocation == "greedy" else None
        channels = get(allocation)(graph, scores, space, cost, self.budget, score=score)
        masks = tfrcp.select(graph, scores, channels)
        model = tfrcp.slice_model(self.model, graph, masks)
        images = self.train[0][: self.arguments.winner_images]
        tfrcp.reconstruct(model, self.model, graph, masks, images, verbose=False)
        tfrcp.recalibrate_batch_norm(model, images)
        return model

    def scoring(self, graph: Any, scores: Any) -> Callable[[np.ndarray], float]:
        """What greedy narrowing asks."""
        from tfrcp.reconstruction import CachedLeastSquares
        from tfrcp.scoring import objectives
        from tfrcp.scoring.evaluator import ProgramEvaluator

        calibration = self.train[0][:256]
        evaluator = ProgramEvaluator(
            self.model,
            graph,
            scores,
            self.holdout,
            objectives.get(self.model, "val_accuracy"),
            calibration,
            reconstruction=CachedLeastSquares(self.model, graph, calibration, verbose=False),
            batch_norm_images=128,
        )
        return lambda channels: evaluator.score(channels).value


def _compile(model: Any, steps: int) -> None:
    import keras

    rate = keras.optimizers.schedules.CosineDecay(0.02, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9, nesterov=True), loss)


def _ranking(groups: str = "all", **options: Any) -> dict[str, Any]:
    return {"class_name": "global_ranking", "config": {"groups": groups, **options}}


def _search(name: str, **options: Any) -> Callable[[Task, int], Any]:
    def run(task: Task, seed: int) -> Any:
        import tfrcp

        return task.searched(getattr(tfrcp, name), seed, **options)

    return run


_PER_MAC = _ranking(normalize=False, cost_power=1.0)
_TAYLOR = {"class_name": "taylor", "config": {"images": 512, "verbose": False}}
ROWS: dict[str, Callable[[Task, int], Any]] = {
    "uniform-l1": lambda task, seed: task.allocated("uniform", "l1"),
    "ranking-l1": lambda task, seed: task.allocated(_ranking(), "l1"),
    "ranking-taylor": lambda task, seed: task.allocated(_ranking(), _TAYLOR),
    "ranking-inner-taylor": lambda task, seed: task.allocated(_ranking("inner"), _TAYLOR),
    "ranking-taylor-per-mac": lambda task, seed: task.allocated(_PER_MAC, _TAYLOR),
    "random-l1": _search("RandomChannelSearch"),
    "greedy-l1": lambda task, seed: task.allocated("greedy", "l1"),
    "evolution-l1": _search("EvolutionaryChannelSearch"),
    "guided": _search("GuidedChannelSearch"),
}
_SEEDED = ("random-l1", "evolution-l1", "guided")  # of the others only fine-tuning differs


if __name__ == "__main__":
    main()
