"""The neutral baseline on five own bases: ResNet-8 on CIFAR-10, images of 16 x 16 pixels.

python bin/benchmark.py --config=configs/study_cifar10_resnet8.py --config.data.data_dir=DIR

Planned with 60,000 CPU seconds: five bases of 30 epochs on images of 32 x 32 pixels. An epoch of
these takes about 200 CPU seconds on a core that others keep busy (4.4 ms for an image and a step,
compiled by XLA), so the images are halved (0.6 ms, about 29 seconds for 48,000 images), and a base
is trained for 8 epochs. Criteria share the channel counts that a seed draws on each base.
Fine-tuning is two epochs, and none, half of one or eight where lengths are compared; a cell of two
epochs is 60 to 80 seconds on a core that is shared. The bases have 65.6 to 67.0 % of the test
images. docs/studies/index.md says which of the cells are done.
"""

from tfrcp.configs import benchmark_digits, cifar10_resnet20, default, study_digits_resnet8


def get_config():
    """The configuration."""
    config = cifar10_resnet20.get_config()
    config.name = "study_cifar10_resnet8"
    config.data.name = "cifar10_jpeg"
    config.data.image_size = 16
    config.data.holdout = 0.04  # 2,000 images
    config.model.name = "resnet8"
    config.train = default.recipe(
        epochs=8, learning_rate=0.1, warmup_epochs=1, weight_decay=1e-4, jit_compile=True
    )
    config.search.batch_norm_images = 256
    config.finetune = default.recipe(epochs=0, weight_decay=1e-4, jit_compile=True)
    config.benchmark = benchmark_digits.studies()
    config.benchmark.bases = 5
    config.benchmark.seeds = 2
    config.benchmark.flops = (0.5,)
    config.benchmark.epochs = 2.0
    config.benchmark.preparation.epochs = 1
    config.benchmark.samples = 20
    config.benchmark.criteria = study_digits_resnet8.CRITERIA
    config.benchmark.criteria_samples = 1
    config.benchmark.allocations = study_digits_resnet8.ALLOCATIONS
    config.benchmark.epochs_grid = (0, 0.5, 8)
    config.benchmark.epochs_allocations = ("random", "uniform", "guided")
    config.benchmark.samples_grid = (1, 5)
    config.benchmark.pool_epochs = (0.1, 0.5)
    config.benchmark.pool = 10
    config.benchmark.learning_rates = (0.01, 0.03, 0.1)
    return config
