"""Seconds to score a candidate: the compiled program against building a Keras model each time.

Both score the same candidates on the same images in one process, taking turns. The naive way builds
the pruned model, recalibrates its batch norms, compiles it and evaluates it.

python benchmarks/evaluation_throughput.py [--weights=FILE.npz --data=cifar10 --data_dir=DIR]
"""

from __future__ import annotations

import time

import numpy as np
from common import images, network, parser, write


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--flops", type=float, default=0.5)
    arguments.add_argument("--candidates", type=int, default=5, help="scored in both ways")
    arguments.add_argument("--race", type=int, default=100, help="scored with and without racing")
    arguments.add_argument("--images", type=int, default=1000)
    arguments = arguments.parse_args()

    import keras

    import tfrcp
    from tfrcp.evaluation import ProgramEvaluator, metric_for

    model = network(arguments)
    graph = tfrcp.trace(model)
    cost = tfrcp.CostModel(graph)
    calibration, holdout = images(arguments, 256, arguments.images)
    scores = tfrcp.criteria.get("l1")(model, graph)
    metric = metric_for(model, "val_accuracy")
    sampler = tfrcp.search.RandomSampler(
        tfrcp.SearchSpace(graph), cost, tfrcp.Budget(arguments.flops), arguments.seed
    )
    candidates = sampler.suggest(max(arguments.candidates, arguments.race))

    def evaluator(racing: bool) -> ProgramEvaluator:
        return ProgramEvaluator(
            model, graph, scores, holdout, metric, calibration, racing=racing, batch_size=125
        )

    def naive(channels: np.ndarray) -> float:
        pruned = tfrcp.slice_model(model, graph, tfrcp.select(graph, scores, channels))
        tfrcp.recalibrate_batch_norm(pruned, calibration)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        pruned.compile(loss=loss, metrics=["accuracy"])
        return pruned.evaluate(*holdout, batch_size=125, verbose=0, return_dict=True)["accuracy"]

    program = evaluator(racing=False)
    program.score(graph.full)  # traces
    seconds: dict[str, list[float]] = {"naive": [], "program": []}
    for channels in candidates[: arguments.candidates]:
        values = {}
        for name, score in (
            ("naive", naive),
            ("program", lambda c: program.score(c).value),
        ):
            start = time.perf_counter()
            values[name] = score(channels)
            seconds[name].append(time.perf_counter() - start)
        print({n: (round(values[n], 4), round(seconds[n][-1], 3)) for n in values}, flush=True)
    medians = {name: float(np.median(times)) for name, times in seconds.items()}
    ratio = medians["naive"] / medians["program"]
    print(f"median seconds a candidate: {medians}; the program is {ratio:.1f} times as fast")

    race = {}
    for racing in (False, True):
        scorer = evaluator(racing)
        scorer.score(candidates[0])  # traces
        start = time.perf_counter()
        results = [scorer.score(channels) for channels in candidates[: arguments.race]]
        race["racing" if racing else "all images"] = {
            "seconds": time.perf_counter() - start,
            "images": float(np.mean([result.images for result in results])),
            "winner": int(np.argmax([result.value for result in results])),
            "best": max(result.value for result in results),
        }
    print(race)
    write(
        arguments,
        "evaluation_throughput",
        {"seconds": seconds, "median": medians, "ratio": ratio, "race": race},
    )


if __name__ == "__main__":
    main()
