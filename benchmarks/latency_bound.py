"""Do searches that are bounded in time find networks that take that time?

Layers are timed once; then searches with several seeds, each bounded to a share of the unpruned
network's time, hand over their winners, which are timed beside the unpruned network. Weights and
images are random: neither changes how long a network takes.

python benchmarks/latency_bound.py [--network=resnet56] [--divisor=8] [--format=litert]
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from common import picture, plain_parser, write


def main() -> None:
    arguments = plain_parser(__doc__)
    arguments.add_argument("--network", default="resnet56", help="a builder in tfrcp.models")
    arguments.add_argument("--size", type=int, default=32, help="height and width of the images")
    arguments.add_argument("--latency", type=float, default=0.6, help="share of the unpruned time")
    arguments.add_argument("--divisor", type=int, default=1)
    arguments.add_argument("--format", default="", help="what is timed: see config.export.format")
    arguments.add_argument("--batch_size", type=int, default=64)
    arguments.add_argument("--searches", type=int, default=5)
    arguments.add_argument("--candidates", type=int, default=10, help="of each search")
    arguments.add_argument("--repeats", type=int, default=20)
    arguments = arguments.parse_args()

    import tfrcp
    from tfrcp.deployment import latency
    from tfrcp.deployment.bundle import writer

    shape = (arguments.size, arguments.size, 3)
    model = getattr(tfrcp.models, arguments.network)(shape, 10, seed=arguments.seed)
    graph = tfrcp.trace(model)
    random = np.random.default_rng(arguments.seed)
    train = random.normal(size=(64, *shape)).astype("float32")
    holdout = random.normal(size=(64, *shape)).astype("float32"), random.integers(0, 10, 64)
    timing = {"batch_size": arguments.batch_size}

    start = time.perf_counter()
    predictor = tfrcp.LatencyModel(
        model, graph, format=arguments.format, divisor=arguments.divisor, folder=None, **timing
    )
    seconds = {"predictor": time.perf_counter() - start}
    check = predictor.check()
    print(f"predictor: {seconds['predictor']:.0f} s. {check}", flush=True)

    results = []
    for seed in range(arguments.searches):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            tuner = tfrcp.RandomChannelSearch(
                model,
                latency=arguments.latency,
                latency_model=predictor,
                divisor=arguments.divisor,
                max_trials=arguments.candidates,
                reconstruction="none",
                seed=seed,
                directory=folder,
            )
            tuner.search(train, validation_data=holdout, verbose=False)
            (winner,), (channels,) = tuner.get_best_models(), tuner.get_best_channels()
            vector = np.array([channels[group.name] for group in graph.prunable])
            predicted = tuner.oracle.sampler.latency
            seconds[f"search {seed}"] = time.perf_counter() - start
            timed = {}
            for name, network in (("unpruned", model), ("pruned", winner)):
                path = Path(folder, name)
                path.mkdir()
                timed[name] = writer(arguments.format)(network, path)
            times = latency.measure(timed, holdout[0], repeats=arguments.repeats, **timing)
        ratio = latency.ratio(times["pruned"], times["unpruned"])
        results.append(
            {
                "seed": seed,
                "before_calibration": float(predictor(vector)[0] / predictor.full),
                "predicted": float(predicted(vector)[0] / predicted.full),
                "measured": ratio.ratio,
                "interval": [ratio.low, ratio.high],
            }
        )
        print(
            f"search {seed}: bound {arguments.latency}, predicted {results[-1]['predicted']:.3f} "
            f"({results[-1]['before_calibration']:.3f} before its calibration), measured "
            f"{ratio.ratio:.3f} ({ratio.low:.3f} to {ratio.high:.3f})",
            flush=True,
        )
    errors = np.array([result["measured"] / arguments.latency - 1 for result in results])
    inside = int((np.abs(errors) <= 0.1).sum())
    print(
        f"{inside} of {len(errors)} within 10 % of the bound; errors {np.round(100 * errors, 1)} %"
    )
    parts = [arguments.network, arguments.format or "keras", str(arguments.divisor)]
    file = write(
        arguments,
        "_".join(["latency_bound", *parts]),
        {
            "seconds": seconds,
            "check": {"predicted": check.predicted.tolist(), "measured": check.measured.tolist()},
            "searches": results,
            "inside": inside,
        },
    )
    plot(check, results, arguments, file.with_suffix(".png"))


def plot(check, results: list[dict], arguments, file: Path) -> None:
    title = f"{arguments.network}, {arguments.format or 'Keras'}, divisor {arguments.divisor}"
    with picture(file, 5, 4.4) as axes:
        axes.plot(
            check.measured,
            check.predicted,
            "o",
            color="#4477aa",
            label="random networks, any width",
        )
        axes.plot(
            [result["measured"] for result in results],
            [result["predicted"] for result in results],
            "s",
            color="#aa3377",
            label=f"winners of searches bounded to {arguments.latency:g}",
        )
        ends = np.array([0, 1.05])
        axes.plot(ends, ends, color="gray")
        axes.fill_between(ends, 0.9 * ends, 1.1 * ends, color="gray", alpha=0.2, label="10 %")
        axes.set(
            xlim=ends,
            ylim=ends,
            xlabel="measured time, share of the unpruned network's",
            ylabel="predicted",
            title=title,
        )
        axes.legend(frameon=False)


if __name__ == "__main__":
    main()
