"""How fast, and how uniformly, the random sampler fills a budget.

For each network and target: the time of so many distinct vectors within 0.5 % of the target, the
share of draws that is accepted, and the share of these that independent draws would have to be
(`RandomSampler.effective_size`). Plain rejection gets a fixed number of draws. Where it accepts
enough of them, the mean width of every group is compared: the largest of the differences, in
standard errors, is shown; about 3 is to be expected of so many groups. Where it does not, that
says why another sampler is needed.

Uniformity is then held against full enumeration, in a space that is small enough for it: among the
first half of all feasible vectors, every vector comes equally often over many seeds. The squared
deviations make a chi-square variable; shown is how many standard deviations it lies off its mean.

Measured on one core of an x86_64 machine that others used too, 1,000 vectors at any of the five
targets: ResNet-50 and MobileNetV2 0.1 to 0.3 CPU seconds, DenseNet-121 0.7 to 1.3. 5 to 38 % of the
draws are accepted; plain rejection accepts none of 500,000 at 0.1, 0.75 and 0.9. The largest
difference of a mean from plain rejection's is 2.4 standard errors; the enumerated spaces of up to
1,765 feasible vectors are within two standard deviations.

python benchmarks/sampling.py [--networks=resnet50,mobilenet_v2,densenet121]
"""

from __future__ import annotations

import itertools
import os
import time
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is imported

import numpy as np  # noqa: E402
from common import plain_parser, write  # noqa: E402

TARGETS = (0.1, 0.25, 0.5, 0.75, 0.9)
LEAST = 200  # accepted vectors for a comparison


def main() -> None:
    arguments = plain_parser(__doc__)
    arguments.add_argument("--networks", default="resnet50,mobilenet_v2,densenet121")
    arguments.add_argument("--vectors", type=int, default=1000)
    arguments.add_argument("--plain", type=int, default=500_000, help="draws of plain rejection")
    arguments.add_argument("--seeds", type=int, default=40, help="of the enumerated space")
    arguments = arguments.parse_args()

    import tfrcp

    rows = []
    print(
        f"{'network':14}{'target':>7}{'CPU s':>8}{'s':>7}{'accepted':>10}{'effective':>11}"
        f"{'plain accepts':>15}{'largest z':>11}"
    )
    for name in arguments.networks.split(","):
        graph = tfrcp.trace(getattr(tfrcp.models, name)())
        cost, space = tfrcp.CostModel(graph), tfrcp.SearchSpace(graph)
        for target in TARGETS:
            row = measure(space, cost, tfrcp.Budget(target), arguments)
            rows.append({"network": name, "target": target, **row})
            z = "-" if row["largest_z"] is None else f"{row['largest_z']:.2f}"
            print(
                f"{name:14}{target:7.2f}{row['cpu_seconds']:8.2f}{row['seconds']:7.2f}"
                f"{row['acceptance']:10.3f}{row['effective']:11.2f}"
                f"{row['plain_acceptance']:15.6f}{z:>11}",
                flush=True,
            )
    enumerated = []
    print(f"\nenumerated: {'target':>7}{'feasible':>10}{'deviations off the mean':>26}")
    for target in (0.3, 0.5, 0.8):
        feasible, off = enumerate_small(target, arguments.seeds)
        enumerated.append({"target": target, "feasible": feasible, "deviations": off})
        print(f"{'':12}{target:7.2f}{feasible:10,}{off:26.2f}", flush=True)
    write(arguments, "sampling", {"rows": rows, "enumerated": enumerated})


def measure(space: Any, cost: Any, budget: Any, arguments: Any) -> dict[str, Any]:
    from tfrcp.search import RandomSampler

    wall, cpu = time.perf_counter(), time.process_time()
    sampler = RandomSampler(space, cost, budget, arguments.seed)
    vectors = sampler.suggest(arguments.vectors)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert len(np.unique(vectors, axis=0)) == arguments.vectors
    assert (sampler.bounds.violation(vectors) == 0).all()
    random, kept = np.random.default_rng([arguments.seed, 1]), []
    for _ in range(-(-arguments.plain // 50_000)):
        draws = np.stack([random.choice(choice, 50_000) for choice in space.choices], axis=1)
        kept.append(draws[sampler.bounds.violation(draws) == 0])
    plain, largest = np.concatenate(kept), None
    if len(plain) >= LEAST:
        error = np.sqrt(
            plain.var(axis=0) / len(plain)
            + vectors.var(axis=0) / (len(vectors) * sampler.effective_size / sampler.accepted)
        )
        largest = float((np.abs(plain.mean(axis=0) - vectors.mean(axis=0)) / error).max())
    return {
        "seconds": wall,
        "cpu_seconds": cpu,
        "acceptance": sampler.acceptance,
        "effective": sampler.effective_size / sampler.accepted,
        "plain_acceptance": len(plain) / (len(kept) * 50_000),
        "largest_z": largest,
    }


def enumerate_small(target: float, seeds: int) -> tuple[int, float]:
    """Number of feasible vectors in a space of four groups, and how far off the mean it is."""
    import tfrcp

    graph = tfrcp.trace(tfrcp.models.vgg16(input_shape=(8, 8, 3), classes=10))
    names = [group.name for group in graph.prunable]
    cost = tfrcp.CostModel(graph)
    # Four groups in the middle, in which most MACs lie, take a dozen counts each.
    space = tfrcp.SearchSpace(graph, divisor=16, fixed=[*names[:3], *names[7:]])
    costs = cost(np.stack([space.smallest, space.largest])).flops
    flops = int(costs[0] + target * (costs[1] - costs[0]))
    budget = tfrcp.Budget(flops, tolerance=0.005)
    sampler = tfrcp.search.RandomSampler(space, cost, budget)
    vectors = np.array(list(itertools.product(*space.choices)))
    vectors = vectors[sampler.bounds.violation(vectors) == 0]
    index = {tuple(vector): i for i, vector in enumerate(vectors.tolist())}
    first, hits = len(index) // 2, np.zeros(len(index))
    for seed in range(seeds):
        sampler = tfrcp.search.RandomSampler(space, cost, budget, seed)
        for vector in sampler.suggest(first).tolist():
            hits[index[tuple(vector)]] += 1
    share, freedom = first / len(index), len(index) - 1
    square = ((hits - seeds * share) ** 2).sum() / (seeds * share * (1 - share))
    square *= freedom / len(index)
    return len(index), float((square - freedom) / np.sqrt(2 * freedom))


if __name__ == "__main__":
    main()
