"""ResNet-56 on CIFAR-10.

python bin/prune.py --config=configs/cifar10_resnet56.py --config.data.data_dir=DIR

The published PyTorch weights give 83.20 % on the 10,000 test images stored as JPEG; the whole job
was not run: on CPUs it takes hours.
"""

from configs import cifar10_resnet20


def get_config():
    """The configuration."""
    config = cifar10_resnet20.get_config()
    config.name = "cifar10_resnet56"
    config.model.name = "resnet56"
    config.search.max_trials = 100
    return config
