"""Channel vectors whose costs are counted in a second, on one core.

All three costs are counted: MACs, weights and activations. Some of the vectors are counted
a second time in whole numbers of 64 bits, and must agree to the last digit.

Measured on one core of an x86_64 machine that others used too, vectors per CPU second: ResNet-50
2.8 million, MobileNetV2 4.9 million, DenseNet-121 0.44 million.

python benchmarks/cost_model.py [--networks=resnet50,mobilenet_v2,densenet121]
"""

from __future__ import annotations

import os
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is imported

import numpy as np  # noqa: E402
from common import plain_parser, write  # noqa: E402


def main() -> None:
    arguments = plain_parser(__doc__)
    arguments.add_argument("--networks", default="resnet50,mobilenet_v2,densenet121")
    arguments.add_argument("--vectors", type=int, default=200_000)
    arguments.add_argument("--checked", type=int, default=1000, help="counted a second time")
    arguments = arguments.parse_args()

    import tfrcp

    print(f"{'network':16}{'groups':>8}{'vectors per CPU second':>26}{'per second':>14}  exact")
    rows = {}
    for name in arguments.networks.split(","):
        graph = tfrcp.trace(getattr(tfrcp.models, name)())
        cost, random = tfrcp.CostModel(graph), np.random.default_rng(arguments.seed)
        channels = random.integers(1, graph.full + 1, (arguments.vectors, len(graph.full)))
        cost(channels[:1000])
        wall, cpu = time.perf_counter(), time.process_time()
        costs = cost(channels)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        checked = np.pad(channels[: arguments.checked], ((0, 0), (0, 1)), constant_values=1)
        exact = all(
            ((checked @ form.astype("int64")) * checked).sum(axis=1).tolist()
            == values[: arguments.checked].tolist()
            for form, values in zip(cost.forms, costs, strict=True)
        )
        rows[name] = {
            "groups": len(graph.full),
            "vectors_per_cpu_second": arguments.vectors / cpu,
            "vectors_per_second": arguments.vectors / wall,
            "exact": exact,
        }
        print(
            f"{name:16}{len(graph.full):8}{arguments.vectors / cpu:26,.0f}"
            f"{arguments.vectors / wall:14,.0f}  {'yes' if exact else 'NO'}",
            flush=True,
        )
    write(arguments, "cost_model", {"networks": rows})


if __name__ == "__main__":
    main()
