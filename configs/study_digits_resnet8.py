"""The neutral baseline on five own bases: ResNet-8 on scikit-learn's digits.

python bin/benchmark.py --config=configs/study_digits_resnet8.py

A quarter of the MACs. Criteria share the four channel counts that the seeds draw on each base.
Fine-tuning is 8 epochs of 1,007 images, and none, half of one or 2 where lengths are compared.
Measured: the first base has 99.2 % of the test images; a cell took 24 to 86 seconds by the clock on
two cores that other work kept busy. docs/studies/index.md says how many cells are done.
"""

from tfrcp.configs import benchmark_digits

CRITERIA = (
    "l1",
    "random",
    "l2",
    "geometric_median",
    "batch_norm_scale",
    "taylor",
    "empirical_sensitivity",
    "optimal_brain_surgeon",
    "hrank",
    "thinet",
)
ALLOCATIONS = (
    "random",
    "uniform",
    "erk",
    "global_ranking@taylor",
    "greedy",
    "evolutionary",
    "guided",
    "surrogate",
    "reinforcement",
    "random@l1+longer",
    "network_slimming@batch_norm_scale+slimming",
    "global_ranking@group_lasso+group_lasso",
    "uniform@l2+soft",
    "evolutionary@index+supernet",
)


def get_config():
    """The configuration."""
    config = benchmark_digits.get_config()
    config.name = "study_digits_resnet8"
    config.benchmark.bases = 5
    config.benchmark.seeds = 4
    config.benchmark.flops = (0.25,)
    config.benchmark.epochs = 8.0
    config.benchmark.samples = 20
    config.benchmark.criteria = CRITERIA
    config.benchmark.criteria_samples = 1
    config.benchmark.allocations = ALLOCATIONS
    config.benchmark.epochs_grid = (0, 0.5, 2)
    config.benchmark.epochs_allocations = ("random", "uniform", "guided")
    config.benchmark.samples_grid = (1, 5)
    config.benchmark.pool_epochs = (0.5, 2)
    config.benchmark.pool = 20
    config.benchmark.learning_rates = (0.01, 0.03, 0.1)
    return config
