"""VGG-16 with batch norm on CIFAR-10.

python bin/prune.py --config=configs/cifar10_vgg16.py --config.data.data_dir=DIR

Not run as a whole: on CPUs training takes days.
"""

from configs import cifar10_resnet20


def get_config():
    """The configuration."""
    config = cifar10_resnet20.get_config()
    config.name = "cifar10_vgg16"
    config.model.name = "vgg16"
    config.search.max_trials = 100
    return config
