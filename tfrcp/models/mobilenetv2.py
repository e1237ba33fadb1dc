"""MobileNetV2 (Sandler et al. 2018, "Inverted Residuals and Linear Bottlenecks", table 2).

A 3x3 stem, seventeen inverted residual blocks with ReLU6, a 1x1 head of 1,280 channels, global
average pool, logits: 3,504,872 trainable parameters (paper: 3.4e6) and 301e6 MACs at
224x224 (paper: 300e6).

Groups: the stem, the expanded channels of every block, and one stream for every run of blocks that
are added to each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfrcp.models import inverted_residual
from tfrcp.models.blocks import Blocks, image_input
from tfrcp.models.channels import check_channels

_STEM, _HEAD = 32, 1280
# Expansion, window, channels, number of blocks, stride of the first of them.
_STAGES = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 3, 32, 3, 2),
    (6, 3, 64, 4, 2),
    (6, 3, 96, 3, 1),
    (6, 3, 160, 3, 2),
    (6, 3, 320, 1, 1),
)
_ROWS = inverted_residual.stages(_STEM, _STAGES, "relu6")


def full_channels() -> dict[str, int]:
    """Returns the width of every channel group of the unpruned network, in forward order."""
    return inverted_residual.full_channels(_STEM, _ROWS, _HEAD)


def mobilenet_v2(
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classes: int = 1000,
    channels: Sequence[int] | None = None,
    *,
    seed: int = 0,
    name: str = "mobilenet_v2",
) -> keras.Model:
    """MobileNetV2 of full width; arguments as for `tfrcp.models.resnet18`."""
    width = check_channels(channels, full_channels())
    blocks = Blocks(seed, padding="same", epsilon=1e-3, momentum=0.99)
    image = image_input(input_shape)
    x = inverted_residual.trunk(blocks, image, _ROWS, width, "relu6")
    return keras.Model(image, blocks.classifier(x, classes), name=name)
