"""MobileNetV2 on ImageNet, from random weights, to 0.7 of its MACs.

python bin/prepare_data.py --name=imagenet2012 --manual_dir=DIR [--data_dir=DATA]
python bin/scratch.py --config=configs/scratch_imagenet_mobilenetv2.py [--config.data.data_dir=DATA]

Made for one or more GPUs of a machine. Not run: no time and no accuracy was measured here. Recipe
and channel counts are those of configs/imagenet_mobilenetv2.py; widths go up to 1.5 times the
original ones. Published figures for orientation: 70.9 % top-1 at 223 M MACs (Li et al.,
CVPR 2022, read second-hand).
"""

from tfrcp.configs.default import recipe

from tfrcp.configs import imagenet_mobilenetv2, scratch


def get_config():
    """The configuration."""
    config = scratch.get_config()
    trained = imagenet_mobilenetv2.get_config()
    config.name = "scratch_imagenet_mobilenetv2"
    for part in ("data", "model", "export", "evaluate"):
        config[part] = trained[part]
    config.model.base = ""
    common = {
        "epochs": 150,
        "warmup_epochs": 5,
        "batch_size": 256,
        "learning_rate": 0.05,
        "weight_decay": 4e-5,
        "augment": "imagenet",
        "precision": "mixed_float16",
    }
    config.supernet = scratch.supernet(**common)
    config.train = recipe(**common)
    config.search.flops = 0.7
    config.search.divisor = 8
    config.search.max_ratio = 1.5
    return config
