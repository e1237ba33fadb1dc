"""The benchmark on scikit-learn's digits, 8 x 8 pixels: every study, without a download.

python bin/benchmark.py --config=configs/benchmark_digits.py

Measured on two CPU cores: 282 cells, those of all criteria but the last four, took one process
21 minutes. At a tenth of the
MACs random pruning reached 93.8 % of the test images, in an earlier run with another base
94.3 % (that base 97.8 %); docs/benchmark.md has the tables.
"""

from ml_collections import ConfigDict

from tfrcp.configs import default

CRITERIA = (
    "random",
    "l1",
    "l2",
    "geometric_median",
    "batch_norm_scale",
    "taylor",
    "empirical_sensitivity",
    "kl_divergence",
    "optimal_brain_surgeon",
    "group_lasso",
    "hrank",
    "thinet",
)
ALLOCATIONS = (
    "random",
    "uniform",
    "erk",
    "random_tickets",
    "global_ranking",
    "global_ranking@batch_norm_scale",
    "greedy",
    "evolutionary",
)


def get_config() -> ConfigDict:
    """The configuration."""
    config = default.get_config()
    config.name = "benchmark_digits"
    config.data.name = "digits"
    config.data.holdout = 0.3
    config.model.name = "resnet8"
    config.train = default.recipe(epochs=20, batch_size=64, warmup_epochs=2, augment="shift")
    config.search.tolerance = 0.01
    config.search.batch_norm_images = 256
    config.finetune = default.recipe(epochs=0, batch_size=64, augment="shift")
    config.benchmark = studies()
    return config


def studies() -> ConfigDict:
    """What is compared. A criterion or an allocation of one's own is "path/to/file.py:function"."""
    config = ConfigDict()
    config.criterion = "l1"  # where criteria are not compared
    config.flops = (0.25, 0.1)  # the studies of epochs and samples take the least
    config.epochs = 4.0  # of fine-tuning, where they are not compared
    config.samples = 20  # networks that a search scores, likewise
    config.seeds = 6
    config.bases = 1  # own bases, of the seeds from config.seed on; all in one table
    # Percentage points within which rows count as equivalent, if the tests say so. They belong to
    # the settings of a folder: set them before the first run.
    config.margins = (1.0, 0.5)
    config.criteria = CRITERIA  # study "criteria", each under random search
    # Candidates of these searches. 1: a seed's draw is shared by all criteria; 0: as `samples`.
    config.criteria_samples = 0
    # Study "search"; "ALLOCATION@CRITERION" for another criterion, "@CRITERION+PREPARATION" for one
    # of a base that is trained on first.
    config.allocations = ALLOCATIONS
    config.epochs_grid = (0, 1, 2, 4, 8, 16)  # study "epochs", for these allocations:
    config.epochs_allocations = ("random", "uniform")
    config.samples_grid = (1, 5, 20, 50)  # study "samples"
    config.pool = 30  # single draws that are all fine-tuned, likewise
    config.pool_epochs = ()  # other lengths for which they are fine-tuned too
    # Of fine-tuning: one for all rows of a length, chosen on the holdout images with uniform
    # widths; continued while the best lies at the edge.
    config.learning_rates = (0.01, 0.03, 0.1, 0.3)
    # Trainings of the base that methods have of their own, see tfrcp.studies.preparations.
    config.preparation = ConfigDict({"epochs": 4, "learning_rate": 0.03, "strength": 1e-3})
    config.test_images = 0  # test images that cells are tested on; 0 for all
    config.score_images = 0  # holdout images that score candidates; 0 for all
    config.finetune_images = 0  # training images of an epoch of fine-tuning; 0 for all
    return config
