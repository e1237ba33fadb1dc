"""MobileNetV3 (Howard et al. 2019, "Searching for MobileNetV3", tables 1 and 2).

A 3x3 stem, inverted residual blocks with ReLU and then hard swish, many of them with
squeeze-and-excite, a 1x1 head, global average pool, a dense layer, dropout of 0.2, logits.

| network | parameters | MACs at 224x224 | paper |
|---|---|---|---|
| mobilenet_v3_small | 2,542,856 | 57e6 | 2.5e6, 56e6 |
| mobilenet_v3_large | 5,483,032 | 217e6 | 5.4e6, 219e6 |

Trainable parameters, as torchvision states them. Squeeze-and-excite has a quarter of the expanded
channels, rounded to a multiple of 8 as in the authors' code.

Groups: the stem, the expanded and the squeezed channels of every block, one stream for every run of
blocks that are added to each other, the head and the dense layer. The first block of the large
network is added to the stem and so belongs to its stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfrcp.models import inverted_residual
from tfrcp.models.blocks import Blocks, image_input
from tfrcp.models.channels import check_channels
from tfrcp.models.inverted_residual import InvertedResidual, SqueezeExcite
from tfrcp.models.variants import variant_of

_STEM = 16
# Window, expanded channels, channels, whether squeezed, activation, stride.
_SMALL = (
    (3, 16, 16, True, "relu", 2),
    (3, 72, 24, False, "relu", 2),
    (3, 88, 24, False, "relu", 1),
    (5, 96, 40, True, "hard_silu", 2),
    (5, 240, 40, True, "hard_silu", 1),
    (5, 240, 40, True, "hard_silu", 1),
    (5, 120, 48, True, "hard_silu", 1),
    (5, 144, 48, True, "hard_silu", 1),
    (5, 288, 96, True, "hard_silu", 2),
    (5, 576, 96, True, "hard_silu", 1),
    (5, 576, 96, True, "hard_silu", 1),
)
_LARGE = (
    (3, 16, 16, False, "relu", 1),
    (3, 64, 24, False, "relu", 2),
    (3, 72, 24, False, "relu", 1),
    (5, 72, 40, True, "relu", 2),
    (5, 120, 40, True, "relu", 1),
    (5, 120, 40, True, "relu", 1),
    (3, 240, 80, False, "hard_silu", 2),
    (3, 200, 80, False, "hard_silu", 1),
    (3, 184, 80, False, "hard_silu", 1),
    (3, 184, 80, False, "hard_silu", 1),
    (3, 480, 112, True, "hard_silu", 1),
    (3, 672, 112, True, "hard_silu", 1),
    (5, 672, 160, True, "hard_silu", 2),
    (5, 960, 160, True, "hard_silu", 1),
    (5, 960, 160, True, "hard_silu", 1),
)
# Blocks, channels of the head, units of the dense layer.
_NETWORKS = {"small": (_SMALL, 576, 1024), "large": (_LARGE, 960, 1280)}


def full_channels(size: str) -> dict[str, int]:
    """Returns the width of every channel group of the unpruned network, in forward order.

    Args:
        size: "small" or "large".
    """
    table, head, dense = _NETWORKS[size]
    return inverted_residual.full_channels(_STEM, _rows(table), head) | {"head_dense": dense}


def mobilenet_v3_small(
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classes: int = 1000,
    channels: Sequence[int] | None = None,
    *,
    seed: int = 0,
    name: str = "mobilenet_v3_small",
) -> keras.Model:
    """MobileNetV3-Small; arguments as for `tfrcp.models.resnet18`; seeds dropout too."""
    return _mobilenet("small", input_shape, classes, channels, seed, name)


@variant_of(mobilenet_v3_small)
def mobilenet_v3_large(**arguments: Any) -> keras.Model:
    """MobileNetV3-Large of full width; arguments as for `mobilenet_v3_small`."""
    return _mobilenet("large", **arguments)


def _rows(table) -> list[InvertedResidual]:
    rows, inputs = [], _STEM
    for kernel_size, expanded, outputs, squeezed, activation, strides in table:
        squeeze = SqueezeExcite(_squeezed(expanded), "relu", "hard_sigmoid") if squeezed else None
        rows.append(
            InvertedResidual(
                prefix=f"block{len(rows) + 1}",
                inputs=inputs,
                expanded=expanded,
                outputs=outputs,
                kernel_size=kernel_size,
                strides=strides,
                activation=activation,
                squeeze=squeeze,
            )
        )
        inputs = outputs
    return rows


def _squeezed(expanded: int) -> int:
    """A quarter, to the nearest multiple of 8, which is not to be more than a tenth less."""
    quarter = expanded / 4
    rounded = max(8, int(quarter + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * quarter else rounded


def _mobilenet(size, input_shape, classes, channels, seed, name) -> keras.Model:
    width = check_channels(channels, full_channels(size))
    blocks = Blocks(seed, padding="same", epsilon=1e-3, momentum=0.99)
    image = image_input(input_shape)
    x = inverted_residual.trunk(blocks, image, _rows(_NETWORKS[size][0]), width, "hard_silu")
    x = blocks.dense(x, width["head_dense"], "head_dense")
    x = keras.layers.Activation("hard_silu", name="head_dense_activation")(x)
    x = blocks.dropout(x, 0.2, "dropout")
    return keras.Model(image, blocks.classifier(x, classes), name=name)
