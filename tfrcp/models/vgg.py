"""VGG-16 in CIFAR form (Simonyan and Zisserman 2015), with batch norm.

Thirteen 3x3 convolutions in five blocks, a 2x2 max pool after each block, and one dense
classifier in place of the three of the original. Every convolution is a channel group.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfrcp.models.blocks import Blocks, image_input
from tfrcp.models.channels import check_channels

_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def full_channels() -> dict[str, int]:
    """Returns the width of every channel group of the unpruned VGG-16, in forward order."""
    return {
        f"block{block}_conv{index}": width
        for block, widths in enumerate(_BLOCKS, 1)
        for index, width in enumerate(widths, 1)
    }


def vgg16(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    channels: Sequence[int] | None = None,
    *,
    seed: int = 0,
    name: str = "vgg16",
) -> keras.Model:
    """VGG-16 in CIFAR form; arguments as for `tfrcp.models.resnet18`.

    Blocks whose image is a single pixel high or wide are not pooled, so images of any known size
    fit.
    """
    width = check_channels(channels, full_channels())
    blocks = Blocks(seed)
    image = image_input(input_shape, sized=True)
    x = image
    for block, widths in enumerate(_BLOCKS, 1):
        for index in range(1, len(widths) + 1):
            conv = f"block{block}_conv{index}"
            x = blocks.convolution(x, width[conv], conv)
            x = keras.layers.ReLU(name=f"block{block}_relu{index}")(x)
        if min(x.shape[1:3]) >= 2:
            x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(image, blocks.classifier(x, classes), name=name)
