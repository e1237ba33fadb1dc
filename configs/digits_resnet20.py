"""ResNet-20 on scikit-learn's digits, 8 x 8 pixels: the whole job in minutes, without a download.

python bin/prune.py --config=configs/digits_resnet20.py

Measured on two CPU cores: test accuracy 98.6 % before and 99.2 % after (a test image is 0.28
points), at 0.498 of the multiply-adds; the best of 40 candidates scored 98.3 % on the holdout
images before fine-tuning. Training took 31 s, the search 12 s, fine-tuning 16 s, evaluation 4 s,
export 8 s. So small a network is no faster for it.
"""

from tfrcp.configs import default


def get_config():
    """The configuration."""
    config = default.get_config()
    config.name = "digits_resnet20"
    config.data.name = "digits"
    config.data.holdout = 0.2
    config.model.name = "resnet20"
    config.train = default.recipe(epochs=30, batch_size=64, warmup_epochs=2, augment="shift")
    config.search.max_trials = 40
    config.search.batch_norm_images = 256  # of so few pixels
    config.finetune = default.recipe(epochs=15, batch_size=64, learning_rate=0.05, augment="shift")
    return config
