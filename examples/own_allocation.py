"""A way of one's own to allocate channels, for the benchmark: deeper groups keep more.

python bin/benchmark.py --config=configs/benchmark_digits.py --study=search
    --config.benchmark.allocations="('uniform', 'examples/own_allocation.py:wider_with_depth')"

A criterion of one's own is named likewise, such as "examples/own_criterion.py:largest_weight" in
config.benchmark.criteria.
"""

import numpy as np

from tfrcp.studies import Step, deterministic, meet_budget, nearest


@deterministic  # It does not depend on the seed: one run serves all seeds.
def wider_with_depth(step: Step) -> np.ndarray:
    """Ratios that double from the first group to the last one.

    Args:
        step: The inputs: space, cost, budget, the criterion's scores, a function that scores a
            channel vector on the holdout images, number of samples, seed.

    Returns:
        int array [prunable groups], a channel vector that meets the budget.
    """
    groups = len(step.space.graph.prunable)
    shape = np.linspace(1.0, 2.0, groups)
    return meet_budget(step, lambda scale: nearest(step.space, np.minimum(scale * shape, 1.0)), 1.0)
