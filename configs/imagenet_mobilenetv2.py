"""MobileNetV2 on ImageNet, from the weights of keras.applications, to 0.7 of its MACs.

python bin/prepare_data.py --name=imagenet2012 --manual_dir=DIR [--data_dir=DATA]
python bin/prune.py --config=configs/imagenet_mobilenetv2.py [--config.data.data_dir=DATA]

Made for one or more GPUs; on several machines bin/train.py and bin/finetune.py with
--strategy=multi_worker. Not run: no time and no accuracy was measured here. The weight decay is
that of Sandler et al. (2018, arXiv 1801.04381); SGD with a cosine, 150 epochs for the base and for
fine-tuning, is ours. To train the base as well, add --config.model.base=
--config.train.epochs=150. Widths are multiples of 8, which phones and LiteRT like; odd ones were
up to 3.5 times slower in ONNX Runtime. Published figures for orientation: 70.9 % top-1 at 223 M
MACs (Li et al., CVPR 2022, read second-hand).
"""

from tfrcp.configs.default import recipe

from tfrcp.configs import imagenet_resnet50


def get_config():
    """The configuration."""
    config = imagenet_resnet50.get_config()
    config.name = "imagenet_mobilenetv2"
    config.data.mean = config.data.std = (0.5, 0.5, 0.5)  # as the weights expect
    config.model.name = "mobilenet_v2"
    config.model.options = {}
    common = {
        "batch_size": 256,
        "learning_rate": 0.05,
        "weight_decay": 4e-5,
        "augment": "imagenet",
        "precision": "mixed_float16",
    }
    config.train = recipe(epochs=0, warmup_epochs=5, **common)
    config.finetune = recipe(epochs=150, **common)
    config.search.flops = 0.7
    config.search.divisor = 8
    config.export.format = ("tf_saved_model", "litert")
    return config
