"""ResNet-50 on ImageNet, from the weights of keras.applications, to half its 3.86 G MACs.

python bin/prepare_data.py --name=imagenet2012 --manual_dir=DIR [--data_dir=DATA]
python bin/prune.py --config=configs/imagenet_resnet50.py [--config.data.data_dir=DATA]

Made for one or more GPUs; on several machines bin/train.py and bin/finetune.py with
--strategy=multi_worker. Not run: no time and no accuracy was measured here. The recipes are those
of Goyal et al. (2017, arXiv 1706.02677): learning rate 0.1 for 256 images, weight decay 1e-4, five
epochs of warm-up, 90 epochs, here with a cosine. To train the base as well, add
--config.model.base= --config.train.epochs=90. Fine-tuning is 60 epochs from a tenth of that rate.
Published figures for orientation: the paper's 75.1 % top-1 at 2.0 G (Li et al., CVPR 2022).
"""

from tfrcp.configs import default


def get_config():
    """The configuration."""
    config = default.get_config()
    config.name = "imagenet_resnet50"
    config.data.name = "imagenet2012"
    config.data.image_size = 224
    config.data.stream = True
    config.data.holdout = 0.004  # 5,125 images
    config.data.mean = (123.68 / 255, 116.779 / 255, 103.939 / 255)  # as the weights expect
    config.data.std = (1 / 255, 1 / 255, 1 / 255)
    config.model.name = "resnet50"
    config.model.options = {"stride_in": "1x1"}
    config.model.base = "keras.applications"
    common = {
        "batch_size": 256,
        "weight_decay": 1e-4,
        "augment": "imagenet",
        "label_smoothing": 0.1,
        "precision": "mixed_float16",
    }
    config.train = default.recipe(epochs=0, learning_rate=0.1, warmup_epochs=5, **common)
    config.finetune = default.recipe(epochs=60, learning_rate=0.01, **common)
    config.evaluate.batch_size = 125
    config.export.format = ("tf_saved_model",)
    return config
