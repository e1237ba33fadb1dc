"""ResNet-20 on scikit-learn's digits, 8 x 8 pixels, from random weights, without a download.

python bin/scratch.py --config=configs/scratch_digits.py

Measured on two CPU cores that other programs kept busy (load 10): 8 min in all, of which 2 min 49 s
of CPU. The supernet reached 99.8 % of the training images at its largest, 94.3 % at its smallest
width; 40 candidates scored from 95.7 to 99.0 % on the holdout images; the winner, at 0.500 of the
MACs and 0.402 of the weights, trained from random weights, 98.9 % on the test images.
"""

from tfrcp.configs import default, scratch


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
    config.search.batch_norm_images = 256  # of so few pixels
    config.train = default.recipe(epochs=30, **common)
    return config
