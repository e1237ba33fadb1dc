"""What each step of pruning takes on large images, and how that grows.

python benchmarks/imagenet_stages.py [--networks=resnet50,vgg16,mobilenet_v2,efficientnet_b0]
    [--images=32] [--pixels=224] [--criteria=l1,taylor,...]

Weights are random, or of the initializers; images are noise. For every network, number of images
and width of the images: CPU seconds, and GiB of the largest resident set beyond that before the
step (of Linux, which can forget the earlier peak; elsewhere the peak so far). A candidate is one of
0.75 of the MACs: fitted, its batch norms re-estimated, scored on as many images.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import numpy as np
from imagenet_scale import network

_CRITERIA = (
    *("l1", "geometric_median", "batch_norm_scale", "taylor", "empirical_sensitivity"),
    *("kl_divergence", "optimal_brain_surgeon"),
)


def steps_of(name: str, count: int, pixels: int, criteria: list[str]) -> dict[str, Any]:
    """CPU seconds and GiB of every step, by its name."""
    import tfrcp
    from tfrcp.reconstruction import CachedLeastSquares
    from tfrcp.scoring import objectives
    from tfrcp.scoring.evaluator import ProgramEvaluator

    model = network(name, None, pixels)
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (2 * count, pixels, pixels, 3), dtype="uint8")
    y = random.integers(0, 1000, 2 * count)
    train, holdout = (x[:count], y[:count]), (x[count:], y[count:])
    found: dict[str, Any] = {}

    def step(what: str, function: Callable[[], Any]) -> Any:
        _forget_peak()
        before, start = _resident("VmRSS"), time.process_time()
        try:
            result = function()
        except (ValueError, TypeError) as error:  # such as a criterion of batch norms without any
            print(f"{name}, {what}: {error}", flush=True)
            return None
        seconds = time.process_time() - start
        found[what] = round(seconds, 2), round(_resident("VmHWM") - before, 3)
        print(f"{name}, {what}: {seconds:.1f} s, {found[what][1]:.2f} GiB", flush=True)
        return result

    graph = step("trace", lambda: tfrcp.trace(model))
    scores = tfrcp.criteria.get("l1")(model, graph)
    for criterion in criteria:
        step(criterion, lambda c=criterion: tfrcp.criteria.get(c)(model, graph, train))
    space, cost = tfrcp.SearchSpace(graph), tfrcp.CostModel(graph)
    budget = tfrcp.Budget(flops=0.75)
    channels = tfrcp.search.RandomSampler(space, cost, budget, seed=0).suggest(1)[0]
    fits = step("statistics", lambda: CachedLeastSquares(model, graph, train[0], verbose=False))
    objective = objectives.get(model, "agreement")
    evaluator = step(
        "evaluator",
        lambda: ProgramEvaluator(
            model, graph, scores, holdout, objective, train[0], reconstruction=fits, batch_size=100
        ),
    )
    step("first candidate", lambda: evaluator.score(channels))
    step("candidate", lambda: evaluator.score(channels))
    arrays = step("winner's reconstruction", lambda: evaluator.reconstruct(channels, train[0]))
    masks = evaluator.masks(channels)
    step("slicing", lambda: tfrcp.slice_model(model, graph, masks))
    pruned = evaluator.build(channels, arrays)
    with tempfile.TemporaryDirectory() as folder:
        step("export", lambda: tfrcp.export(pruned, Path(folder) / "model"))
    return found


def _resident(field: str) -> float:
    """GiB of a line of the process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 2**20


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    """Runs the benchmark."""
    arguments = common.plain_parser(__doc__)
    arguments.add_argument("--networks", default="resnet50,vgg16,mobilenet_v2,efficientnet_b0")
    arguments.add_argument("--images", default="32", help="of calibration, and as many of holdout")
    arguments.add_argument("--pixels", default="224")
    arguments.add_argument("--criteria", default=",".join(_CRITERIA))
    arguments = arguments.parse_args()
    warnings.simplefilter("ignore")
    results = {}
    for name in arguments.networks.split(","):
        for count in map(int, arguments.images.split(",")):
            for pixels in map(int, arguments.pixels.split(",")):
                criteria = [c for c in arguments.criteria.split(",") if c]
                results[f"{name}, {count} images of {pixels} pixels"] = steps_of(
                    name, count, pixels, criteria
                )
    steps = list(dict.fromkeys(step for row in results.values() for step in row))
    print(f"| CPU s (GiB) | {' | '.join(results)} |\n|---|{'---:|' * len(results)}")
    for step in steps:
        cells = [
            "{:.1f} ({:.2f})".format(*row[step]) if step in row else "" for row in results.values()
        ]
        print(f"| {step} | {' | '.join(cells)} |")
    common.write(arguments, "imagenet_stages", {"steps": results})


if __name__ == "__main__":
    main()
