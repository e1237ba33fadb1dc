"""DenseNet-121 (Huang et al. 2017, "Densely Connected Convolutional Networks", table 1).

A 7x7 stem and a max pool, four dense blocks of 6, 12, 24 and 16 layers, between them transitions
that halve width and size, batch norm, global average pool, logits: 7,978,856 trainable parameters
and 2.83e9 MACs at 224x224 (as torchvision states them; the paper plots its own). A layer
is batch norm, ReLU, a 1x1 convolution to 128 channels, batch norm, ReLU and a 3x3 one to 32, which
join all the channels before them.

Every convolution is a channel group. Its channels are read by every later layer of the block, and
leave all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras

from tfrcp.models.blocks import Blocks, image_input
from tfrcp.models.channels import check_channels

_LAYERS = (6, 12, 24, 16)
_STEM, _GROWTH = 64, 32


def full_channels() -> dict[str, int]:
    """Returns the width of every channel group of the unpruned network, in forward order."""
    full, joined = {"stem_conv": _STEM}, _STEM
    for block, count in enumerate(_LAYERS, 1):
        for prefix in _prefixes(block):
            full[f"{prefix}_conv1"], full[f"{prefix}_conv2"] = 4 * _GROWTH, _GROWTH
        joined += count * _GROWTH
        if block < len(_LAYERS):
            joined //= 2
            full[f"transition{block}_conv"] = joined
    return full


def densenet121(
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classes: int = 1000,
    channels: Sequence[int] | None = None,
    *,
    seed: int = 0,
    name: str = "densenet121",
) -> keras.Model:
    """DenseNet-121; arguments as for `tfrcp.models.resnet18`.

    Height and width are at least 29, which leaves a pixel to pool, or `None`.
    """
    width = check_channels(channels, full_channels())
    blocks = Blocks(seed)
    image = image_input(input_shape, least=29)
    x = blocks.stem(image, width["stem_conv"])
    for block in range(1, len(_LAYERS) + 1):
        for prefix in _prefixes(block):
            y = _convolution(blocks, x, width, f"{prefix}_conv1", 1)
            y = _convolution(blocks, y, width, f"{prefix}_conv2", 3)
            x = keras.layers.Concatenate(name=f"{prefix}_join")([x, y])
        if block < len(_LAYERS):
            x = _convolution(blocks, x, width, f"transition{block}_conv", 1)
            x = keras.layers.AveragePooling2D(2, name=f"transition{block}_pool")(x)
    x = blocks.batch_norm(x, "head_bn")
    x = keras.layers.ReLU(name="head_relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, blocks.classifier(x, classes), name=name)


def _prefixes(block: int) -> Iterator[str]:
    """What the names of the layers of a dense block start with."""
    return (f"dense{block}_layer{layer}" for layer in range(1, _LAYERS[block - 1] + 1))


def _convolution(blocks: Blocks, x, width: dict[str, int], name: str, kernel_size: int):
    """Batch norm, ReLU and convolution."""
    x = blocks.batch_norm(x, name.replace("conv", "bn"))
    x = keras.layers.ReLU(name=name.replace("conv", "relu"))(x)
    return blocks.bare_convolution(x, width[name], name, kernel_size=kernel_size)
