"""EfficientNet-B0 (Tan and Le 2019, "EfficientNet: Rethinking Model Scaling", table 1), and Lite0.

A 3x3 stem, sixteen inverted residual blocks with swish and squeeze-and-excite, a 1x1 head of 1,280
channels, global average pool, dropout of 0.2, logits: 5,288,548 trainable parameters (paper: 5.3e6)
and 386e6 MACs at 224x224 (paper: 0.39e9). Training leaves out whole blocks for some
images, for none of them at the first block and for nearly a fifth at the last.

Squeeze-and-excite has a quarter of the channels that come into the block, before the expansion, as
in the authors' code.

Lite0 is the authors' form for integer arithmetic: ReLU6 instead of swish, no squeeze-and-excite;
4,652,008 trainable parameters (the authors: 4.7e6) and 385e6 MACs at 224x224.

Groups: the stem, the expanded and the squeezed channels of every block, and one stream for every
run of blocks that are added to each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tfrcp.models import inverted_residual
from tfrcp.models.blocks import Blocks, image_input
from tfrcp.models.channels import check_channels
from tfrcp.models.inverted_residual import InvertedResidual, SqueezeExcite

_STEM, _HEAD = 32, 1280
# Expansion, window, channels, number of blocks, stride of the first of them.
_STAGES = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
_DROPOUT = _DROP_BLOCKS = 0.2


def full_channels(*, lite: bool = False) -> dict[str, int]:
    """Returns the width of every channel group of the unpruned network, in forward order.

    Args:
        lite: Whether it is Lite0.
    """
    return inverted_residual.full_channels(_STEM, _rows(lite), _HEAD)


def efficientnet_b0(
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classes: int = 1000,
    channels: Sequence[int] | None = None,
    *,
    seed: int = 0,
    name: str = "efficientnet_b0",
) -> keras.Model:
    """EfficientNet-B0; arguments as for `tfrcp.models.resnet18`; seeds dropout too."""
    return _network(input_shape, classes, channels, seed, name)


def efficientnet_lite0(
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classes: int = 1000,
    channels: Sequence[int] | None = None,
    *,
    preprocessing: keras.Layer | None = None,
    seed: int = 0,
    name: str = "efficientnet_lite0",
) -> keras.Model:
    """EfficientNet-Lite0; see `load_pytorch_efficientnet_lite0` for its ImageNet weights.

    Args:
        input_shape: As for `tfrcp.models.resnet18`, as the next two.
        classes: See there.
        channels: See there.
        preprocessing: A layer between the images and the stem, such as `keras.layers.Resizing`.
        seed: See there; seeds dropout too.
        name: See there.
    """
    return _network(input_shape, classes, channels, seed, name, preprocessing, lite=True)


def _network(
    input_shape: tuple[int | None, int | None, int],
    classes: int,
    channels: Sequence[int] | None,
    seed: int,
    name: str,
    preprocessing: keras.Layer | None = None,
    *,
    lite: bool = False,
) -> keras.Model:
    width = check_channels(channels, full_channels(lite=lite))
    blocks = Blocks(seed, padding="same", epsilon=1e-3, momentum=0.99)
    image = image_input(input_shape)
    x = image if preprocessing is None else preprocessing(image)
    x = inverted_residual.trunk(blocks, x, _rows(lite), width, _activation(lite))
    x = blocks.dropout(x, _DROPOUT, "dropout")
    return keras.Model(image, blocks.classifier(x, classes), name=name)


def _activation(lite: bool) -> str:
    return "relu6" if lite else "silu"


def _rows(lite: bool) -> list[InvertedResidual]:
    def squeeze(inputs: int) -> SqueezeExcite:
        return SqueezeExcite(inputs // 4, "silu", "sigmoid")

    return inverted_residual.stages(
        _STEM, _STAGES, _activation(lite), None if lite else squeeze, _DROP_BLOCKS
    )
