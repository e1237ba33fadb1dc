"""ResNet-20 of twice the width on scikit-learn's digits: the whole job in minutes, no download.

python bin/prune.py --config=configs/digits_resnet20.py

The original widths, 16 to 64 channels, are so few on 8 x 8 pixels that fewer save no time; twice as
many in multiples of 8 do. Measured with seeds 0 and 1 on a busy machine (a test image is 0.28
points): test accuracy 99.4 % before and after, and 99.2 % before and 99.7 % after, at 0.45 of the
MACs; in LiteRT 0.47 (95 % interval 0.43 to 0.51) and 0.52 (0.48 to 0.64) of the time per
image. Seed 0 took 287 s of CPU time, and 100 s more of the system.
"""

from tfrcp.configs import default


def get_config():
    """The configuration."""
    config = default.get_config()
    config.name = "digits_resnet20"
    config.data.name = "digits"
    config.data.holdout = 0.2
    config.model.name = "resnet20"
    config.model.options.width = 2.0
    config.train = default.recipe(epochs=20, batch_size=64, warmup_epochs=2, augment="shift")
    config.search.flops = 0.45
    config.search.divisor = 8  # what processors take at a time
    config.search.max_trials = 30
    config.search.batch_norm_images = 256  # of so few pixels
    config.finetune = default.recipe(
        epochs=25, batch_size=64, learning_rate=0.05, augment="shift", distillation=0.5
    )
    config.export.format = ("tf_saved_model", "litert")
    return config
