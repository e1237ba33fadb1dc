"""What a search costs beside its trials: time of an empty one, at 100, 1,000 and 10,000 trials.

Each figure is the mean of the last 100 trials before that number. A trial is proposed, stored
three times (begun, scored, ended); it does nothing else. Then the search is made again, which reads
all trials. The surrogate's time is that of its regression, which sees at most 256 of the trials; it
is measured with fewer.

Measured on one core of an x86_64 machine that others used too, ResNet-50, milliseconds a trial at
100, 1,000 and 10,000 trials: random 2.8, 5.5, 4.0; evolutionary 3.9, 4.5, 3.4. Surrogate at 100 and
400 trials: 46 and 171. Reading a trial again takes 1.4.

python benchmarks/search_overhead.py [--network=resnet50] [--trials=100,1000,10000]
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is imported

from common import plain_parser, write  # noqa: E402

WINDOW = 100


def main() -> None:
    arguments = plain_parser(__doc__)
    arguments.add_argument("--network", default="resnet50", help="a network in tfrcp.models")
    arguments.add_argument("--trials", default="100,1000,10000")
    arguments.add_argument("--surrogate_trials", default="100,400")
    arguments = arguments.parse_args()

    import tfrcp

    graph = tfrcp.trace(getattr(tfrcp.models, arguments.network)())
    cost = tfrcp.CostModel(graph)
    rows = []
    print(f"{'oracle':26}{'trials':>8}{'ms a trial':>12}{'CPU ms':>9}{'ms to read one again':>22}")
    for kind, trials in (
        (tfrcp.RandomChannelOracle, arguments.trials),
        (tfrcp.EvolutionaryChannelOracle, arguments.trials),
        (tfrcp.SurrogateChannelOracle, arguments.surrogate_trials),
    ):
        for row in measure(kind, graph, cost, [int(n) for n in trials.split(",")]):
            rows.append({"oracle": kind.__name__, **row})
            again = f"{row['again_ms']:.2f}" if row["again_ms"] else "-"
            print(
                f"{kind.__name__:26}{row['trials']:8,}{row['ms']:12.2f}{row['cpu_ms']:9.2f}"
                f"{again:>22}",
                flush=True,
            )
    write(arguments, "search_overhead", {"rows": rows})


def measure(kind: Any, graph: Any, cost: Any, marks: list[int]) -> list[dict[str, Any]]:
    import keras_tuner

    import tfrcp
    from tfrcp.search.distributed import DistributedTuner

    times: list[tuple[float, float]] = []
    first = graph.prunable[0].name

    class Empty(DistributedTuner):
        def run_trial(self, trial: Any) -> dict[str, float]:
            times.append((time.perf_counter(), time.process_time()))
            return {"score": 1 / trial.hyperparameters.values[first]}

    with tempfile.TemporaryDirectory() as folder:

        def made() -> Any:
            objective = keras_tuner.Objective("score", "max")
            space, budget = tfrcp.SearchSpace(graph), tfrcp.Budget(0.5)
            oracle = kind(space, cost, budget, objective, max(marks))
            return Empty(oracle, directory=folder, project_name="project")

        made().search()
        again = made()
        start = time.perf_counter()
        again.reload()
        seconds = time.perf_counter() - start
    rows = []
    for mark in marks:
        (wall, cpu), (last_wall, last_cpu) = times[mark - WINDOW], times[mark - 1]
        rows.append(
            {
                "trials": mark,
                "ms": 1e3 * (last_wall - wall) / (WINDOW - 1),
                "cpu_ms": 1e3 * (last_cpu - cpu) / (WINDOW - 1),
                "again_ms": 1e3 * seconds / mark if mark == max(marks) else None,
            }
        )
    return rows


if __name__ == "__main__":
    main()
