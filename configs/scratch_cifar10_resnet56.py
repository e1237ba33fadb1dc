"""ResNet-56 on CIFAR-10, from random weights, with widths up to 1.5 times the original ones.

python bin/scratch.py --config=configs/scratch_cifar10_resnet56.py --config.data.data_dir=DIR

Not run: no time and no accuracy was measured here.
"""

from tfrcp.configs import scratch_cifar10_resnet20


def get_config():
    """The configuration."""
    config = scratch_cifar10_resnet20.get_config()
    config.name = "scratch_cifar10_resnet56"
    config.model.name = "resnet56"
    return config
