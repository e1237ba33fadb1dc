"""RegNetX-400MF (Radosavovic et al. 2020, "Designing Network Design Spaces").

A 3x3 stem of 32 channels, four stages of 1, 2, 7 and 12 bottlenecks of 32, 64, 160 and 384
channels, each at half the size of the one before, global average pool, logits: 5,157,512 trainable
parameters (paper: 5.2e6) and 398e6 MACs at 224x224 (paper: 400e6). A bottleneck has as
many channels inside as outside, and its 3x3 convolution is grouped: every 16 channels are convolved
alone. (torchvision rounds the last width up, to 400 channels, and has 5.5e6 parameters.)

Groups: the stem, one stream for every stage, and the inner channels of every block. Stages 1 to 3
have 2, 4 and 10 parts of 16 channels: there the same channels are pruned in every part, those
before the 3x3 convolution and those after it each for themselves, and a width is a number of
channels of a part. Stage 4 has 24 parts: there whole parts are pruned, before and after the
convolution at once, and a width is a number of parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfrcp.models.blocks import Blocks, Convolution, image_input
from tfrcp.models.channels import check_channels

_STEM = 32
_STAGES = ((32, 1), (64, 2), (160, 7), (384, 12))  # channels, blocks
_PART = 16  # channels that are convolved together


def full_channels() -> dict[str, int]:
    """Returns the width of every channel group of the unpruned network, in forward order.

    The inner width of a block counts the channels of a part, or in stage 4 the parts.
    """
    full = {"stem_conv": _STEM}
    for stage, (outputs, count) in enumerate(_STAGES, 1):
        parts = outputs // _PART
        for block in range(1, count + 1):
            prefix = f"stage{stage}_block{block}"
            if _whole_parts(parts):
                full[f"{prefix}_conv1"] = parts
            else:
                full[f"{prefix}_conv1"] = full[f"{prefix}_conv2"] = _PART
            if block == 1:
                full[f"{prefix}_conv3"] = outputs
    return full


def regnet_x_400mf(
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classes: int = 1000,
    channels: Sequence[int] | None = None,
    *,
    seed: int = 0,
    name: str = "regnet_x_400mf",
) -> keras.Model:
    """RegNetX-400MF; arguments as for `tfrcp.models.resnet18`."""
    width = check_channels(channels, full_channels())
    blocks = Blocks(seed)
    image = image_input(input_shape)
    x = blocks.convolution(image, width["stem_conv"], "stem_conv", strides=2)
    x = keras.layers.ReLU(name="stem_relu")(x)
    for stage, (outputs, count) in enumerate(_STAGES, 1):
        stream = width[f"stage{stage}_block1_conv3"]
        parts = outputs // _PART
        for block in range(1, count + 1):
            prefix, skip, strides = f"stage{stage}_block{block}", x, 1
            if block == 1:
                strides = 2
                skip = blocks.convolution(
                    x, stream, f"{prefix}_projection_conv", kernel_size=1, strides=2
                )
            before = width[f"{prefix}_conv1"]
            if _whole_parts(parts):
                inner = (
                    Convolution(before * _PART, 1),
                    Convolution(before * _PART, 3, strides, groups=before),
                )
            else:
                inner = (
                    Convolution(before * parts, 1),
                    Convolution(width[f"{prefix}_conv2"] * parts, 3, strides, groups=parts),
                )
            x = blocks.residual(x, skip, prefix, (*inner, Convolution(stream, 1)))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, blocks.classifier(x, classes), name=name)


def _whole_parts(parts: int) -> bool:
    """Whether whole parts are pruned: where they are more than the channels of one."""
    return parts > _PART
