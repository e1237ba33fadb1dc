"""VGG-16 with batch norm on CIFAR-10.

python bin/prune.py --config=configs/cifar10_vgg16.py --config.data.data_dir=DIR

Not run as a whole. Measured on two CPU cores: a training step of 128 images takes 1.5 s, so that
the 200 epochs would take 29 h before the search for 50 % of its 313 M MACs begins.
"""

from tfrcp.configs import cifar10_resnet20


def get_config():
    """The configuration."""
    config = cifar10_resnet20.get_config()
    config.name = "cifar10_vgg16"
    config.model.name = "vgg16"
    config.search.max_trials = 100
    return config
