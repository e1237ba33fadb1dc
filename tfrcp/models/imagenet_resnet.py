"""ImageNet ResNets (He et al. 2016, "Deep Residual Learning for Image Recognition", table 1).

A 7x7 stem and a max pool, four stages of residual blocks at 1/4 to 1/32 of the image size, global
average pool, logits. ResNet-18 and 34 have basic blocks of two 3x3 convolutions, 50, 101 and 152
bottlenecks of 1x1, 3x3 and 1x1. A block that changes size or width has a projection as shortcut
(option B). Bottlenecks are the "v1.5" that most frameworks train: the 3x3 convolution has the
stride, where the paper's first 1x1 convolution has it.

| network | parameters | MACs at 224x224 | paper |
|---|---|---|---|
| resnet18 | 11,689,512 | 1.81e9 | 1.8e9 |
| resnet34 | 21,797,672 | 3.66e9 | 3.6e9 |
| resnet50 | 25,557,032 | 4.09e9 (stride in 1x1: 3.86e9) | 3.8e9 |
| resnet101 | 44,549,160 | 7.80e9 (7.57e9) | 7.6e9 |
| resnet152 | 60,192,808 | 11.51e9 (11.28e9) | 11.3e9 |

Trainable parameters; these and the first MACs are also those that torchvision states.

Groups: the inner channels of a block, those of `conv1` (and `conv2` of a bottleneck), are groups of
their own; the stream of a stage is one group. In ResNet-18 and 34 the stem belongs to the stream of
stage 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfrcp.arguments import check_choice
from tfrcp.models.blocks import Blocks, Convolution, image_input
from tfrcp.models.channels import check_channels
from tfrcp.models.variants import variant_of

_STAGES = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_STEM = 64


def full_channels(depth: int) -> dict[str, int]:
    """Returns the width of every channel group of an unpruned ResNet, in forward order.

    Args:
        depth: 18, 34, 50, 101 or 152.
    """
    full = {"stem_conv": _STEM}
    for stage, prefix, new_stream in _blocks(depth):
        inner = _STEM * 2 ** (stage - 1)
        full[f"{prefix}_conv1"] = inner
        if depth >= 50:
            full[f"{prefix}_conv2"] = inner
        if new_stream:
            full[_last(depth, prefix)] = 4 * inner if depth >= 50 else inner
    return full


def resnet18(
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classes: int = 1000,
    channels: Sequence[int] | None = None,
    *,
    seed: int = 0,
    name: str = "resnet18",
) -> keras.Model:
    """ResNet-18.

    Args:
        input_shape: (height, width, channels) of the images; height and width may be `None`.
        classes: Number of classes.
        channels: One int per channel group of the unpruned network, in forward order (see
            `tfrcp.models.full_channels`); `None` builds the unpruned network.
        seed: Seed of the initial weights.
        name: Name of the model.

    Returns:
        A model from images [batch, height, width, channels] to logits [batch, classes].

    Raises:
        ValueError: An argument is out of range; the message names the group where it is a width.
    """
    return _resnet(18, input_shape, classes, channels, seed, name)


@variant_of(resnet18)
def resnet34(**arguments: Any) -> keras.Model:
    """ResNet-34; arguments as for `resnet18`."""
    return _resnet(34, **arguments)


def resnet50(
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classes: int = 1000,
    channels: Sequence[int] | None = None,
    *,
    stride_in: str = "3x3",
    seed: int = 0,
    name: str = "resnet50",
) -> keras.Model:
    """ResNet-50; arguments as for `resnet18`, and one more.

    Args:
        stride_in: The convolution of a bottleneck that halves the image: "3x3" (v1.5) or "1x1"
            (the paper, and the weights of `keras.applications`).
    """
    return _resnet(50, input_shape, classes, channels, seed, name, stride_in)


@variant_of(resnet50)
def resnet101(**arguments: Any) -> keras.Model:
    """ResNet-101; arguments as for `resnet50`."""
    return _resnet(101, **arguments)


@variant_of(resnet50)
def resnet152(**arguments: Any) -> keras.Model:
    """ResNet-152; arguments as for `resnet50`."""
    return _resnet(152, **arguments)


def _blocks(depth: int):
    """Yields (stage, prefix of the names, whether the block opens a new stream)."""
    for stage, count in enumerate(_STAGES[depth], 1):
        for block in range(1, count + 1):
            yield stage, f"stage{stage}_block{block}", block == 1 and (depth >= 50 or stage > 1)


def _last(depth: int, prefix: str) -> str:
    """Name of the last convolution of a block."""
    return f"{prefix}_conv{3 if depth >= 50 else 2}"


def _resnet(depth, input_shape, classes, channels, seed, name, stride_in="3x3") -> keras.Model:
    check_choice("stride_in", stride_in, ("3x3", "1x1"))
    width = check_channels(channels, full_channels(depth))
    blocks = Blocks(seed)
    image = image_input(input_shape)
    stream = width["stem_conv"]
    x = blocks.stem(image, stream)
    for stage, prefix, new_stream in _blocks(depth):
        skip, strides = x, 1
        if new_stream:
            strides, stream = 1 if stage == 1 else 2, width[_last(depth, prefix)]
            skip = blocks.convolution(
                x, stream, f"{prefix}_projection_conv", kernel_size=1, strides=strides
            )
        first = width[f"{prefix}_conv1"]
        if depth >= 50:
            in_1x1, in_3x3 = (strides, 1) if stride_in == "1x1" else (1, strides)
            branch = (
                Convolution(first, 1, in_1x1),
                Convolution(width[f"{prefix}_conv2"], 3, in_3x3),
                Convolution(stream, 1),
            )
        else:
            branch = (Convolution(first, 3, strides), Convolution(stream, 3))
        x = blocks.residual(x, skip, prefix, branch)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, blocks.classifier(x, classes), name=name)
