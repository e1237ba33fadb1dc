"""ResNet-20 on scikit-learn's digits, 8 x 8 pixels, from random weights, without a download.

python bin/scratch.py --config=configs/scratch_digits.py
"""

from configs import default, scratch


def get_config():
    """The configuration."""
    config = scratch.get_config()
    config.name = "scratch_digits"
    config.data.name = "digits"
    config.data.holdout = 0.2
    config.model.name = "resnet20"
    common = {"batch_size": 64, "warmup_epochs": 2, "augment": "shift"}
    config.supernet = scratch.supernet(epochs=30, **common)
    config.search.max_trials = 40
    config.train = default.recipe(epochs=30, **common)
    return config
