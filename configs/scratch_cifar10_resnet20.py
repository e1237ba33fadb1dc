"""ResNet-20 on CIFAR-10, from random weights, with widths up to 1.5 times the original ones.

python bin/scratch.py --config=configs/scratch_cifar10_resnet20.py --config.data.data_dir=DIR

Not run: no time and no accuracy was measured here.
"""

from tfrcp.configs.cifar10_resnet20 import MEAN, STD

from tfrcp.configs import scratch


def get_config():
    """The configuration."""
    config = scratch.get_config()
    config.name = "scratch_cifar10_resnet20"
    config.data.name = "cifar10"
    config.data.mean = MEAN
    config.data.std = STD
    config.model.name = "resnet20"
    config.search.max_ratio = 1.5
    config.search.max_trials = 100
    return config
