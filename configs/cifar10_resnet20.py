"""ResNet-20 on CIFAR-10.

python bin/prune.py --config=configs/cifar10_resnet20.py --config.data.data_dir=DIR

Measured on two CPU cores, from published PyTorch weights and with CIFAR-10 stored as JPEG (which
costs the base ten points: 81.03 % on the 10,000 test images), by adding
--config.model.base=FILE.npz --config.train.epochs=0 --config.finetune.epochs=1: of 50 candidates
the best scored 63.3 % on 5,000 holdout images before fine-tuning (48.8 % when only the batch norms
were re-estimated; the base 85.7 %); after one epoch the network with 49.6 % of the multiply-adds
reached 81.6 % on the test images, and an image took 0.82 of the time (95 % interval 0.74 to 0.89).
The search took 75 s, fine-tuning 118 s, evaluation 29 s. The last repair of the winner
(`tfrcp.search.repair`) came after that run.
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
