"""Seconds and images that every criterion needs to score all channels of a network.

The time is that of one call in a fresh criterion, compilation included. By default weights are
random and images made up: neither changes what a criterion costs.

python benchmarks/criteria_cost.py [--network=resnet56] [--weights=FILE.npz --data_dir=DIR]
"""

from __future__ import annotations

import time
from pathlib import Path

from common import images, network, parser, picture, write

_NAMES = "random,l1,l2,batch_norm_scale,geometric_median,taylor,empirical_sensitivity,kl_divergence"


def main() -> None:
    arguments = parser(__doc__)
    arguments.set_defaults(network="resnet20")
    arguments.add_argument("--criteria", default=_NAMES, help="names, separated by commas")
    arguments = arguments.parse_args()

    from tfrcp import criteria, trace

    chosen = {name: criteria.get(name) for name in arguments.criteria.split(",")}
    model = network(arguments)
    graph = trace(model)
    seen = {name: getattr(criterion, "images", 0) for name, criterion in chosen.items()}
    _, data = images(arguments, 1, max(2, *seen.values()))
    channels = sum(group.size for group in graph.prunable)
    rows = {}
    for name, criterion in chosen.items():
        wall, cpu = time.perf_counter(), time.process_time()
        criterion(model, graph, data)
        rows[name] = {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
            "images": seen[name],
            "labels": name == "taylor",
        }
    print(f"\n{arguments.network}: {channels:,} channels in {len(graph.prunable)} groups")
    print(f"{'criterion':24}{'seconds':>10}{'CPU seconds':>14}{'images':>9}  labels")
    for name, row in rows.items():
        print(
            f"{name:24}{row['seconds']:10.2f}{row['cpu_seconds']:14.2f}{row['images']:9,}  "
            f"{'needed' if row['labels'] else 'none'}"
        )
    file = write(
        arguments, f"criteria_cost_{arguments.network}", {"channels": channels, "criteria": rows}
    )
    plot(rows, f"{arguments.network}, {channels:,} channels", file.with_suffix(".png"))


def plot(rows: dict, title: str, file: Path) -> None:
    with picture(file, 7, 0.45 * len(rows) + 1.2) as axes:
        names = sorted(rows, key=lambda name: rows[name]["seconds"], reverse=True)
        bars = axes.barh(names, [rows[name]["seconds"] for name in names], color="#4477aa")
        labels = [f"{rows[n]['seconds']:.3g} s, {rows[n]['images']:,} images" for n in names]
        axes.bar_label(bars, labels, padding=4)
        least, most = rows[names[-1]]["seconds"], rows[names[0]]["seconds"]
        axes.set(
            xscale="log",
            xlim=(least / 2, most * (most / least) ** 0.4),
            xlabel="seconds to score all channels",
            title=title,
        )


if __name__ == "__main__":
    main()
