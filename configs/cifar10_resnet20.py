"""ResNet-20 on CIFAR-10.

python bin/prune.py --config=configs/cifar10_resnet20.py --config.data.data_dir=DIR
"""

from configs import default

# Statistics per channel that the published PyTorch weights were trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def get_config():
    """The configuration."""
    config = default.get_config()
    config.name = "cifar10_resnet20"
    config.data.name = "cifar10"
    config.data.mean = MEAN
    config.data.std = STD
    config.model.name = "resnet20"
    config.search.max_trials = 50
    return config
