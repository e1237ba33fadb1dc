"""The benchmark with ResNet-20 on CIFAR-10, as far as two CPU cores go in about an hour.

python bin/benchmark.py --config=configs/benchmark_cifar10_resnet20.py
    --config.data.data_dir=DIR --config.model.base=FILE.npz

FILE.npz holds published PyTorch weights. They saw lossless images, so the base is first trained for
two epochs on the images as they are stored (JPEG); all rows start from that one checkpoint.

Measured on two CPU cores that other work kept busy: 70 cells in at most 90 minutes by up to three
processes in one folder. At half the MACs random pruning reached 76 % of 5,000 test
images after two short epochs (the base 87.5 %); docs/benchmark.md has the tables and the limits.
"""

from tfrcp.configs import benchmark_digits, cifar10_resnet20, default


def get_config():
    """The configuration."""
    config = cifar10_resnet20.get_config()
    config.name = "benchmark_cifar10_resnet20"
    config.data.name = "cifar10_jpeg"
    config.train = default.recipe(epochs=2, learning_rate=0.02)
    config.finetune = default.recipe(epochs=0, batch_size=64)
    config.search.batch_norm_images = 256
    config.benchmark = benchmark_digits.studies()
    config.benchmark.flops = (0.5,)
    config.benchmark.epochs = 2
    config.benchmark.samples = 10
    config.benchmark.seeds = 3
    config.benchmark.epochs_grid = (0, 2, 6)
    config.benchmark.samples_grid = (1, 3, 10)
    config.benchmark.pool = 10
    config.benchmark.learning_rates = (0.003, 0.01, 0.03)
    config.benchmark.score_images = 500
    config.benchmark.test_images = 5000
    config.benchmark.finetune_images = 2000
    return config
