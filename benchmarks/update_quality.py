"""What each reconstruction is worth: accuracy of random candidates before any training.

Random configurations of one cost are scored on the holdout images after slicing alone, after
re-estimating the batch norms, after cached and after sequential least squares, each without and
with the batch norms re-estimated. With `--finetune_images` the networks that sequential least
squares gave are then trained for one epoch on so many images, and every score is held against the
accuracy after it (Spearman's rank correlation).

python benchmarks/update_quality.py [--weights=FILE.npz --data=cifar10 --data_dir=DIR]
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from common import images, load_splits, network, parser, picture, write

TUNED = "after fine-tuning"


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--candidates", type=int, default=20)
    arguments.add_argument("--flops", type=float, default=0.5, help="share of the MACs")
    arguments.add_argument("--criterion", default="l1")
    arguments.add_argument("--calibration", type=int, default=512, help="images, never scored")
    arguments.add_argument("--images", type=int, default=1000, help="holdout images that score")
    arguments.add_argument("--samples", type=int, default=100, help="equations for each unknown")
    arguments.add_argument("--ridge", type=float, default=1e-5)
    arguments.add_argument("--finetune_images", type=int, default=0, help="0: no fine-tuning")
    arguments.add_argument("--finetune_rate", type=float, default=0.01, help="learning rate")
    arguments = arguments.parse_args()
    if arguments.finetune_images and not arguments.data_dir:
        raise SystemExit("--finetune_images needs labelled images: give --data_dir.")

    import tfrcp

    model = network(arguments)
    graph = tfrcp.trace(model)
    cost = tfrcp.CostModel(graph)
    scores = tfrcp.criteria.get(arguments.criterion)(model, graph)
    sampler = tfrcp.search.RandomSampler(
        tfrcp.SearchSpace(graph), cost, tfrcp.Budget(arguments.flops), arguments.seed
    )
    study = Study(model, graph, arguments)
    print(f"unpruned: {study.unpruned:.1%} of {arguments.images} holdout images are right")
    print(f"{study.gather_seconds:.1f} s for the statistics of cached least squares, once for all")
    rows: list[dict[str, Any]] = []
    for channels in sampler.suggest(arguments.candidates):
        rows.append(study.run(tfrcp.select(graph, scores, channels)))
        parts = (f"{name} {value:.1%}" for name, value in rows[-1]["accuracy"].items())
        print(f"{len(rows):3}: " + "; ".join(parts), flush=True)

    summary = summarize(rows)
    print_table(summary)
    results = {
        "unpruned": study.unpruned,
        "gather_seconds": study.gather_seconds,
        "summary": summary,
        "candidates": rows,
    }
    file = write(arguments, f"update_quality_{arguments.network}", results)
    title = f"{arguments.network}, {len(rows)} random candidates at {arguments.flops:.0%} of the"
    plot(rows, f"{title} MACs", study.unpruned, file.with_suffix(".png"))


class Study:
    """Reconstructs and scores one candidate after the other, in one process on the same images."""

    def __init__(self, model: Any, graph: Any, arguments: Any) -> None:
        from tfrcp.graph.program import Program
        from tfrcp.graph.weights import read_weights, slice_weights
        from tfrcp.reconstruction import CachedLeastSquares

        self.model, self.graph, self.arguments = model, graph, arguments
        self.calibration, (self.x, self.y) = images(
            arguments, arguments.calibration, arguments.images
        )
        self.options = {"samples": arguments.samples, "ridge": arguments.ridge, "verbose": False}
        self.program, self.weights = Program(graph), read_weights(graph, model)
        full = slice_weights(graph, self.weights, {})
        self._forward = self.program.compile(self.program.run, self.program.fold(full))
        self._statistics = self.program.compile(self.program.run_on_batch_statistics, full)
        self.unpruned = self.accuracy(full)
        self._statistics(full, self.program.pack(self.calibration))  # traces
        start = time.perf_counter()
        self.cached = CachedLeastSquares(model, graph, self.calibration, **self.options)
        self.gather_seconds = time.perf_counter() - start

    def run(self, masks: dict[str, np.ndarray]) -> dict[str, Any]:
        """Accuracy at every stage, and the seconds that its reconstruction took."""
        import tfrcp
        from tfrcp.graph.weights import slice_weights

        accuracy, seconds = {}, {}

        def stage(name: str, repair: Any, since: float = 0.0) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            result = repair()
            seconds[name] = time.perf_counter() - wall + since
            seconds[f"{name}, CPU"] = time.process_time() - cpu + since
            return result

        sliced = slice_weights(self.graph, self.weights, masks)
        accuracy["slicing alone"] = self.accuracy(sliced)
        repaired = stage("batch norm", lambda: self.recalibrated(sliced))
        accuracy["batch norm"] = self.accuracy(repaired)
        cached = stage("cached", lambda: self.cached(sliced, masks))
        accuracy["cached"] = self.accuracy(cached)
        accuracy["cached, batch norm"] = self.accuracy(self.recalibrated(cached))
        pruned = tfrcp.slice_model(self.model, self.graph, masks)
        stage(
            "sequential",
            lambda: tfrcp.reconstruction.reconstruct(
                pruned, self.model, self.graph, masks, self.calibration, **self.options
            ),
        )
        accuracy["sequential"] = self.accuracy_of(pruned)
        tfrcp.recalibrate_batch_norm(pruned, self.calibration)
        accuracy["sequential, batch norm"] = self.accuracy_of(pruned)
        if self.arguments.finetune_images:
            stage(TUNED, lambda: self.finetune(pruned))
            accuracy[TUNED] = self.accuracy_of(pruned)
        kept = {name: int(mask.sum()) for name, mask in masks.items()}
        return {"accuracy": accuracy, "seconds": seconds, "channels": kept}

    def recalibrated(self, arrays: Any) -> Any:
        """Weights with the batch norms' statistics re-estimated."""
        arrays = {path: dict(entry) for path, entry in arrays.items()}
        _, statistics = self._statistics(arrays, self.program.pack(self.calibration))
        for path, (mean, variance) in statistics.items():
            arrays[path]["moving_mean"] = np.asarray(mean)
            arrays[path]["moving_variance"] = np.asarray(variance)
        return arrays

    def accuracy(self, arrays: Any) -> float:
        """Share of the holdout images that are right, of the network with these weights."""
        folded = self.program.fold(arrays)
        return self._right(lambda x: self._forward(folded, self.program.pack(x)))

    def accuracy_of(self, pruned: Any) -> float:
        """The same of a Keras model."""
        return self._right(lambda x: pruned(x, training=False))

    def _right(self, forward: Any) -> float:
        outputs = [np.asarray(forward(self.x[i : i + 250])) for i in range(0, len(self.x), 250)]
        return float((np.concatenate(outputs).argmax(axis=1) == self.y).mean())

    def finetune(self, pruned: Any) -> None:
        """One epoch over the first training images, in place."""
        import dataclasses

        from tfrcp.training import Recipe, fit

        data = load_splits(self.arguments)
        part = dataclasses.replace(
            data.train,
            images=data.train.images[: self.arguments.finetune_images],
            labels=data.train.labels[: self.arguments.finetune_images],
        )
        recipe = Recipe(
            epochs=1, batch_size=64, warmup_epochs=0, learning_rate=self.arguments.finetune_rate
        )
        batches = part.dataset(64, shuffle=True, augment="cifar", seed=self.arguments.seed)
        fit(pruned, batches, None, recipe, verbose=False)


def summarize(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Quartiles, seconds and rank correlations of every stage."""
    from tfrcp.studies.statistics import spearman

    summary = {}
    gained = np.array([row["accuracy"]["batch norm"] for row in rows])
    tuned = [row["accuracy"].get(TUNED) for row in rows]
    for name in rows[0]["accuracy"]:
        values = np.array([row["accuracy"][name] for row in rows])
        low, middle, high = np.percentile(values, (25, 50, 75))
        entry = {"lower quartile": low, "median": middle, "upper quartile": high}
        entry["median over batch norm"] = middle - float(np.median(gained))
        for key in (name, f"{name}, CPU"):
            if key in rows[0]["seconds"]:
                kind = "CPU seconds" if key.endswith("CPU") else "seconds"
                entry[kind] = float(np.median([row["seconds"][key] for row in rows]))
        if None not in tuned and name != TUNED:
            entry["rank correlation"] = spearman(values, np.array(tuned))
        summary[name] = {key: float(value) for key, value in entry.items()}
    return summary


def print_table(summary: dict[str, dict[str, float]]) -> None:
    columns = ("lower quartile", "median", "upper quartile", "median over batch norm")
    print("\nholdout accuracy in %; gain: of the median over batch norm alone, in points;")
    print(
        "s: seconds of the reconstruction alone, median; rank: correlation with fine-tuned accuracy"
    )
    print(f"{'':24}{'25 %':>7}{'median':>8}{'75 %':>7}{'gain':>7}{'s':>8}{'CPU s':>8}{'rank':>7}")
    for name, entry in summary.items():
        cells = [f"{100 * entry[c]:{w}.1f}" for c, w in zip(columns, (7, 8, 7, 7), strict=True)]
        cells += [
            f"{entry[c]:8.2f}" if c in entry else f"{'':8}" for c in ("seconds", "CPU seconds")
        ]
        if "rank correlation" in entry:
            cells.append(f"{entry['rank correlation']:7.2f}")
        print(f"{name:24}{''.join(cells)}")


def plot(rows: list[dict[str, Any]], title: str, unpruned: float, file: Path) -> None:
    names = list(rows[0]["accuracy"])
    values = [[100 * row["accuracy"][name] for row in rows] for name in names]
    with picture(file, 7, 4) as axes:
        axes.boxplot(values, whis=(0, 100), widths=0.5, medianprops={"color": "#aa3377"})
        random = np.random.default_rng(0)
        for place, column in enumerate(values, 1):
            spread = place + random.uniform(-0.12, 0.12, len(column))
            axes.plot(spread, column, "o", markersize=3, color="#4477aa", alpha=0.7)
        axes.axhline(100 * unpruned, color="gray", linestyle=":")
        axes.annotate("unpruned", (0.6, 100 * unpruned), va="bottom", color="gray")
        wrapped = [name.replace(", ", ",\n").replace("after ", "after\n") for name in names]
        axes.set_xticks(range(1, len(names) + 1), wrapped)
        axes.set(ylabel="accuracy on the holdout images (%)", ylim=(0, 100), title=title)


if __name__ == "__main__":
    main()
