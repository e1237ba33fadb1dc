"""ResNet-20 on CIFAR-10.

python bin/prune.py --config=configs/cifar10_resnet20.py --config.data.data_dir=DIR

Measured on two CPU cores that other programs kept busy, with CIFAR-10 stored as JPEG, which costs
the published PyTorch weights ten points: 81.0 % on the 10,000 test images. Trained on JPEG images
for 8 epochs (--config.model.base=FILE.npz --config.train.epochs=8
--config.train.learning_rate=0.01, 39 minutes) the base reaches 88.2 %. Pruned to half its
MACs, the best of 50 candidates scores 71.0 % on 5,000 holdout images and 74.7 % after the
last reconstruction (226 s); after two epochs of fine-tuning the network has 83.5 % accuracy on the
test images (539 s), and 84.8 % (624 s) if the base teaches with --config.finetune.distillation=0.5:
one seed, `benchmarks/distillation.py`.

On idle cores the search took 75 s and an epoch of fine-tuning 118 s, and an image took 0.82 of the
time (95 % interval 0.74 to 0.89).
"""

from tfrcp.configs import default

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
