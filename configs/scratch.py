"""All fields of pruning from scratch with their defaults; the files scratch_* change some of them.

They are those of `configs/default.py` but for fine-tuning, which there is none of here.
"""

from ml_collections import ConfigDict

from tfrcp.configs import default


def get_config() -> ConfigDict:
    """A configuration of every field."""
    config = default.get_config()
    del config.finetune
    config.name = "scratch"
    # Training at all widths at once. `distillation` is the share of the narrower widths' loss that
    # imitates the whole supernet; see `tfrcp.training.fit_supernet` for what does not apply.
    config.supernet = supernet(epochs=200, learning_rate=0.1)
    config.search.max_ratio = 1.0  # or more: widths beyond those of the network; costs are its own
    config.search.sampler = "random"
    config.search.criterion = "index"  # the channels that the supernet was trained to keep
    config.search.reconstruction = "batch_norm"
    # Of the winner, from random weights, or from those of the supernet.
    config.train = default.recipe(epochs=200, learning_rate=0.1)
    config.inherit = False
    return config


def supernet(random_widths: int = 2, under_budget: bool = False, **changes) -> ConfigDict:
    """How a supernet is trained: a recipe, and what its steps are made of.

    Args:
        random_widths: Number of random widths in a step, beside the largest and the smallest.
        under_budget: Whether these meet the budget of the search, or are any in the space.
        **changes: What differs from `default.recipe`.
    """
    config = default.recipe(temperature=1.0, **changes)
    config.random_widths = random_widths
    config.under_budget = under_budget
    return config
