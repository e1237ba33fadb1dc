"""ResNet-20 on CIFAR-10.

python bin/prune.py --config=configs/cifar10_resnet20.py --config.data.data_dir=DIR

Measured on two busy CPU cores, from published PyTorch weights and with CIFAR-10 stored as JPEG
(which costs the base ten points: 81.03 % on the 10,000 test images), by adding
--config.model.base=FILE.npz --config.train.epochs=0 --config.finetune.epochs=1
--config.search.update=batch_norm --config.search.racing=false: of 50 candidates the best scored
48.8 % on 5,000 holdout images before fine-tuning (the base 85.7 %); after one epoch the network
with 50.4 % of the multiply-adds reached 81.72 % on the test images, and an image took 0.80 of the
time (95 % interval 0.76 to 0.83). The search took 361 s, fine-tuning 270 s, evaluation 38 s,
export 5 s. Least squares, the default now, was not part of that run.
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
