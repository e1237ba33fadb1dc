"""Seconds to score a candidate: the compiled program against building a Keras model each time.

Both score the same candidates on the same images in one process, taking turns. The naive way builds
the pruned model, recalibrates its batch norms, compiles it and evaluates it. Then a whole pool is
scored on all images and in a race, with and without least squares.

For comparison, how long the MACs of a candidate would take in one large matrix product.

python benchmarks/evaluation_throughput.py [--weights=FILE.npz --data=cifar10 --data_dir=DIR]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import images, network, parser, picture, write


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--flops", type=float, default=0.5)
    arguments.add_argument("--candidates", type=int, default=9, help="scored in both ways")
    arguments.add_argument("--race", type=int, default=100, help="scored with and without racing")
    arguments.add_argument("--images", type=int, default=1000)
    arguments.add_argument("--calibration", type=int, default=256, help="images of least squares")
    arguments.add_argument("--batch_norm_images", type=int, default=128, help="of these")
    arguments = arguments.parse_args()

    import keras

    import tfrcp
    from tfrcp.reconstruction import CachedLeastSquares
    from tfrcp.scoring import objectives
    from tfrcp.scoring.evaluator import ProgramEvaluator

    model = network(arguments)
    graph = tfrcp.trace(model)
    cost = tfrcp.CostModel(graph)
    calibration, holdout = images(arguments, arguments.calibration, arguments.images)
    few = calibration[: arguments.batch_norm_images]
    scores = tfrcp.criteria.get("l1")(model, graph)
    metric = objectives.get(model, "val_accuracy")
    sampler = tfrcp.search.RandomSampler(
        tfrcp.SearchSpace(graph), cost, tfrcp.Budget(arguments.flops), arguments.seed
    )
    pool = sampler.suggest(max(arguments.candidates, arguments.race))

    def naive(channels: np.ndarray) -> float:
        pruned = tfrcp.slice_model(model, graph, tfrcp.select(graph, scores, channels))
        tfrcp.recalibrate_batch_norm(pruned, few)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        pruned.compile(loss=loss, metrics=["accuracy"])
        return pruned.evaluate(*holdout, batch_size=100, verbose=0, return_dict=True)["accuracy"]

    program = ProgramEvaluator(model, graph, scores, holdout, metric, few, batch_size=100)
    program.score(graph.full)  # traces
    ways = {"naive": naive, "program": lambda channels: program.score(channels).value}
    seconds: dict[str, list[float]] = {"naive": [], "program": [], "repair": []}
    for channels in pool[: arguments.candidates]:
        values = {}
        for name, score in ways.items():
            values[name], spent = _timed(score, channels)
            seconds[name].append(spent)
        seconds["repair"].append(_timed(program.prepare, channels)[1])
        print({n: (round(values[n], 4), round(seconds[n][-1], 3)) for n in values}, flush=True)
    medians = {name: float(np.median(times)) for name, times in seconds.items()}
    ratio = medians["naive"] / medians["program"]
    flops = float(np.median(cost(pool[: arguments.candidates]).flops))
    floor = flops * (arguments.images + len(few)) / _rate()
    print(
        f"median seconds a candidate: {medians['naive']:.2f} naive, {medians['program']:.2f} by "
        f"the program ({medians['repair']:.2f} for slicing and batch norms): {ratio:.1f} times as "
        f"fast. Its MACs as one matrix product: {floor:.2f}"
    )

    least_squares = CachedLeastSquares(model, graph, calibration, verbose=False)

    def score_all(name: str, repair: Any, racing: bool) -> dict[str, Any]:
        scorer = ProgramEvaluator(
            model,
            graph,
            scores,
            holdout,
            metric,
            calibration,
            reconstruction=repair,
            batch_norm_images=arguments.batch_norm_images,
            racing=racing,
        )
        scorer.build(graph.full)  # traces
        found, spent = _timed(lambda vectors: [scorer.score(v) for v in vectors], pool)
        row = {
            "seconds": spent / len(pool),
            "images": float(np.mean([score.images for score in found])),
            "winner": int(np.argmax([score.value for score in found])),
            "best": max(score.value for score in found),
        }
        print(f"{name}: {row}", flush=True)
        return row

    race = {}
    for repair, function in (("batch norm", None), ("least squares", least_squares)):
        for racing in (False, True):
            name = f"{repair}, racing" if racing else repair
            race[name] = score_all(name, function, racing)
    results = {"seconds": seconds, "median": medians, "ratio": ratio, "race": race, "floor": floor}
    file = write(arguments, f"evaluation_throughput_{arguments.network}", results)
    bars = {"naive": medians["naive"]} | {name: row["seconds"] for name, row in race.items()}
    title = f"{arguments.network} at {arguments.flops:.0%} of its MACs"
    plot(bars, f"{title}, {arguments.images:,} images", file.with_suffix(".png"))


def _timed(function: Callable[[Any], Any], argument: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = function(argument)
    return result, time.perf_counter() - start


def _rate() -> float:
    """MACs a second of a product of large float32 matrices, the best of ten."""
    import tensorflow as tf

    size = 2000
    matrix = tf.random.stateless_normal((size, size), (0, 0))
    product = lambda a: tf.matmul(a, a).numpy()  # noqa: E731
    return size**3 / min(_timed(product, matrix)[1] for _ in range(10))


def plot(bars: dict[str, float], title: str, file: Path) -> None:
    with picture(file, 7, 2.8) as axes:
        names = list(bars)[::-1]
        drawn = axes.barh(names, [bars[name] for name in names], color="#4477aa")
        labels = [f"{bars[name]:.2f} s, {bars['naive'] / bars[name]:.1f} x" for name in names]
        axes.bar_label(drawn, labels, padding=4)
        axes.set(xlim=(0, 1.2 * max(bars.values())), xlabel="seconds a candidate", title=title)


if __name__ == "__main__":
    main()
