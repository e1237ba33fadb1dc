"""VGG-16 and VGG-19 in ImageNet form (Simonyan and Zisserman 2015, table 1, columns D and E).

Convolutions of 3x3 with bias and no batch norm in five blocks, a 2x2 max pool after each, two dense
layers of 4,096 units with dropout of one half, logits.

| network | parameters | MACs at 224x224 | paper |
|---|---|---|---|
| vgg16_imagenet | 138,357,544 | 15.47e9 | 138e6 |
| vgg19_imagenet | 143,667,240 | 19.63e9 | 144e6 |

Every convolution and each of the two dense layers is a channel group. The form for CIFAR, with
batch norm and a single dense layer, is `tfrcp.models.vgg16`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfrcp.models.blocks import Blocks, image_input
from tfrcp.models.channels import check_channels
from tfrcp.models.variants import variant_of

_WIDTHS = (64, 128, 256, 512, 512)
_CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def full_channels(depth: int) -> dict[str, int]:
    """Returns the width of every channel group of an unpruned VGG network, in forward order.

    Args:
        depth: 16 or 19.
    """
    full = {
        f"block{block}_conv{index}": width
        for block, (width, count) in enumerate(zip(_WIDTHS, _CONVOLUTIONS[depth], strict=True), 1)
        for index in range(1, count + 1)
    }
    return full | {"dense1": 4096, "dense2": 4096}


def vgg16_imagenet(
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    channels: Sequence[int] | None = None,
    *,
    seed: int = 0,
    name: str = "vgg16_imagenet",
) -> keras.Model:
    """VGG-16 in ImageNet form; arguments as for `tfrcp.models.resnet18`; seeds dropout too.

    Height and width are known, and at least 32.
    """
    return _vgg(16, input_shape, classes, channels, seed, name)


@variant_of(vgg16_imagenet)
def vgg19_imagenet(**arguments: Any) -> keras.Model:
    """VGG-19 in ImageNet form; arguments as for `vgg16_imagenet`."""
    return _vgg(19, **arguments)


def _vgg(depth, input_shape, classes, channels, seed, name) -> keras.Model:
    width = check_channels(channels, full_channels(depth))
    blocks = Blocks(seed)
    x = image = image_input(input_shape, least=32, sized=True)
    for block, count in enumerate(_CONVOLUTIONS[depth], 1):
        for index in range(1, count + 1):
            conv = f"block{block}_conv{index}"
            x = blocks.bare_convolution(x, width[conv], conv, use_bias=True)
            x = keras.layers.ReLU(name=f"block{block}_relu{index}")(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for index in (1, 2):
        x = blocks.dense(x, width[f"dense{index}"], f"dense{index}")
        x = keras.layers.ReLU(name=f"dense{index}_relu")(x)
        x = blocks.dropout(x, 0.5, f"dense{index}_dropout")
    return keras.Model(image, blocks.classifier(x, classes), name=name)
