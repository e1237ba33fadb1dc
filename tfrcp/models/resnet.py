"""CIFAR ResNets (He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2).

A 3x3 stem of 16 channels, three stages of 16, 32 and 64 channels with `(depth - 2) / 6` basic
blocks each, global average pool, logits. The first block of stages 2 and 3 halves the image, and
its shortcut is one of two:

- "A": every second pixel, with zero channels before and after. The channels of a stage live on in
  the next, so its group holds only the channels that the stage adds: 16, 16 and 32.
- "B": a 1x1 convolution of stride 2 with batch norm. Every stage has a stream of its own: 16, 32
  and 64.

A block's inner channels, those of its `conv1`, are always a group of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfrcp.arguments import check_choice, check_number
from tfrcp.models.blocks import Blocks, Convolution, image_input
from tfrcp.models.channels import check_channels
from tfrcp.models.variants import variant_of

_WIDTHS = (16, 32, 64)


def full_channels(depth: int, *, shortcut: str = "A", width: float = 1.0) -> dict[str, int]:
    """Returns the width of every channel group of an unpruned ResNet, in forward order.

    Args:
        depth: 6 n + 2, n the number of blocks per stage.
        shortcut: "A" or "B".
        width: Factor of all widths.

    Raises:
        ValueError: `shortcut` is neither "A" nor "B", or `width` is out of range.
    """
    check_choice("shortcut", shortcut, ("A", "B"))
    widths = _stage_widths(width)
    full = {"stem_conv": widths[0]}
    for stage, block, new_stream in _blocks(depth):
        full[f"stage{stage}_block{block}_conv1"] = widths[stage - 1]
        if new_stream:
            before = widths[stage - 2] if shortcut == "A" else 0
            full[f"stage{stage}_block{block}_conv2"] = widths[stage - 1] - before
    return full


def _stage_widths(factor: float) -> list[int]:
    """Channels of the three stages."""
    check_number("width", factor, "[0.0625, 64]")
    return [round(channels * factor) for channels in _WIDTHS]


def resnet20(
    input_shape: tuple[int | None, int | None, int] = (32, 32, 3),
    classes: int = 10,
    channels: Sequence[int] | None = None,
    *,
    shortcut: str = "A",
    width: float = 1.0,
    seed: int = 0,
    name: str = "resnet20",
) -> keras.Model:
    """ResNet-20 in CIFAR form.

    Args:
        input_shape: (height, width, channels) of the images; height and width may be `None`.
        classes: Number of classes.
        channels: One int per channel group of the unpruned network, in forward order (see
            `tfrcp.models.full_channels`); `None` builds the unpruned network. With shortcut "A"
            half of a stage's added channels, rounded down, stand before those of the stage before.
        shortcut: "A" (strided slice, zero channels) or "B" (projection).
        width: Factor of the unpruned network's widths: 2 gives stages of 32, 64 and 128 channels.
        seed: Seed of the initial weights.
        name: Name of the model.

    Returns:
        A model from images [batch, height, width, channels] to logits [batch, classes].

    Raises:
        ValueError: An argument is out of range; the message names the group where it is a width.
    """
    return _resnet(20, input_shape, classes, channels, shortcut, width, seed, name)


@variant_of(resnet20)
def resnet8(**arguments: Any) -> keras.Model:
    """ResNet-8, the smallest one of this form, for small images; arguments as for `resnet20`."""
    return _resnet(8, **arguments)


@variant_of(resnet20)
def resnet32(**arguments: Any) -> keras.Model:
    """ResNet-32 in CIFAR form; arguments as for `resnet20`."""
    return _resnet(32, **arguments)


@variant_of(resnet20)
def resnet44(**arguments: Any) -> keras.Model:
    """ResNet-44 in CIFAR form; arguments as for `resnet20`."""
    return _resnet(44, **arguments)


@variant_of(resnet20)
def resnet56(**arguments: Any) -> keras.Model:
    """ResNet-56 in CIFAR form; arguments as for `resnet20`."""
    return _resnet(56, **arguments)


@variant_of(resnet20)
def resnet110(**arguments: Any) -> keras.Model:
    """ResNet-110 in CIFAR form; arguments as for `resnet20`."""
    return _resnet(110, **arguments)


def _blocks(depth: int):
    """Yields (stage, block, whether the block opens a new stream), counted from 1."""
    for stage in (1, 2, 3):
        for block in range(1, (depth - 2) // 6 + 1):
            yield stage, block, stage > 1 and block == 1


def _resnet(depth, input_shape, classes, channels, shortcut, width, seed, name) -> keras.Model:
    width = check_channels(channels, full_channels(depth, shortcut=shortcut, width=width))
    blocks = Blocks(seed)
    image = image_input(input_shape)
    stream = width["stem_conv"]
    x = blocks.convolution(image, stream, "stem_conv")
    x = keras.layers.ReLU(name="stem_relu")(x)
    for stage, block, new_stream in _blocks(depth):
        prefix = f"stage{stage}_block{block}"
        skip, strides = x, 1
        if new_stream:
            strides, added = 2, width[f"{prefix}_conv2"]
            if shortcut == "A":
                stream += added
                before = added // 2
                skip = keras.ops.pad(
                    x[:, ::2, ::2, :], [[0, 0], [0, 0], [0, 0], [before, added - before]]
                )
            else:
                stream = added
                skip = blocks.convolution(
                    x, stream, f"{prefix}_projection_conv", kernel_size=1, strides=2
                )
        inner = Convolution(width[f"{prefix}_conv1"], 3, strides)
        x = blocks.residual(x, skip, prefix, (inner, Convolution(stream, 3)))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, blocks.classifier(x, classes), name=name)
