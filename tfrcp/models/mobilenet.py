"""MobileNetV1 (Howard et al. 2017, "MobileNets", table 1).

A 3x3 stem and thirteen pairs of a 3x3 depthwise and a 1x1 convolution, each with batch norm and
ReLU6, global average pool, logits: 4,231,976 trainable parameters (paper: 4.2e6) and 569e6
MACs at 224x224 (paper: 569e6).

The stem and every 1x1 convolution is a channel group; a depthwise convolution belongs to the
channels that it filters. The last depthwise convolution has stride 1: with stride 2, as the table
has it, the sizes that the table states would not come out. ReLU6 is that of the authors' code,
where the paper speaks of ReLU.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfrcp.models.blocks import Blocks, image_input
from tfrcp.models.channels import check_channels

_STEM = 32
# Channels of the 1x1 convolution, stride of the depthwise one.
_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *5 * ((512, 1),),
    (1024, 2),
    (1024, 1),
)


def full_channels() -> dict[str, int]:
    """Returns the width of every channel group of the unpruned network, in forward order."""
    pointwise = {f"block{i}_pointwise_conv": width for i, (width, _) in enumerate(_BLOCKS, 1)}
    return {"stem_conv": _STEM, **pointwise}


def mobilenet_v1(
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classes: int = 1000,
    channels: Sequence[int] | None = None,
    *,
    seed: int = 0,
    name: str = "mobilenet_v1",
) -> keras.Model:
    """MobileNetV1 of full width; arguments as for `tfrcp.models.resnet18`."""
    width = check_channels(channels, full_channels())
    blocks = Blocks(seed, padding="same", epsilon=1e-3, momentum=0.99)
    image = image_input(input_shape)
    x = blocks.convolution(image, width["stem_conv"], "stem_conv", strides=2)
    x = keras.layers.Activation("relu6", name="stem_activation")(x)
    for block, (_, strides) in enumerate(_BLOCKS, 1):
        x = blocks.depthwise(x, f"block{block}_depthwise_conv", strides=strides)
        x = keras.layers.Activation("relu6", name=f"block{block}_depthwise_activation")(x)
        conv = f"block{block}_pointwise_conv"
        x = blocks.convolution(x, width[conv], conv, kernel_size=1)
        x = keras.layers.Activation("relu6", name=f"block{block}_pointwise_activation")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, blocks.classifier(x, classes), name=name)
