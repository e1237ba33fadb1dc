"""ResNet-56 on CIFAR-10.

python bin/prune.py --config=configs/cifar10_resnet56.py --config.data.data_dir=DIR

The published PyTorch weights give 83.20 % on the 10,000 test images stored as JPEG. Of 20 random
candidates at half the MACs the median scored 10.9 % after slicing, 45.6 % with batch norms
re-estimated, 66.0 % with cached and 75.6 % with sequential least squares besides (1,000 holdout
images, on which the base has 88.0 % accuracy; docs/method.md). Least squares took 0.12 s of CPU for
a candidate, 15 s for the winner.
"""

from tfrcp.configs import cifar10_resnet20


def get_config():
    """The configuration."""
    config = cifar10_resnet20.get_config()
    config.name = "cifar10_resnet56"
    config.model.name = "resnet56"
    config.search.max_trials = 100
    return config
