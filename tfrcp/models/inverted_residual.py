"""Inverted residual blocks, of which MobileNetV2, MobileNetV3 and EfficientNet are made.

A block expands its input by a 1x1 convolution, filters every channel alone by a depthwise one,
weighs the channels by squeeze-and-excite where it has that, and projects them to few channels by
another 1x1 convolution without activation. Where neither size nor width changes, the input is
added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import keras

from tfrcp.models.blocks import Blocks


class SqueezeExcite(NamedTuple):
    """Weighs channels by what is in the whole image.

    Attributes:
        width: Channels between its two 1x1 convolutions.
        activation: Name of the activation between them.
        gate: Name of the activation that makes the weights.
    """

    width: int
    activation: str
    gate: str


class InvertedResidual(NamedTuple):
    """A block of an unpruned network.

    Attributes:
        prefix: What the names of its layers start with.
        inputs: Channels that come in.
        expanded: Channels of the depthwise convolution; no expansion where these are `inputs`.
        outputs: Channels that go out.
        kernel_size: Height and width of the depthwise window.
        strides: Step of that window, pixels.
        activation: Name of the activation after expansion and depthwise convolution.
        squeeze: The squeeze-and-excite, if there is one.
        drop: Share of the images for which training leaves out the block (stochastic depth), where
            its input is added.
    """

    prefix: str
    inputs: int
    expanded: int
    outputs: int
    kernel_size: int
    strides: int
    activation: str
    squeeze: SqueezeExcite | None = None
    drop: float = 0.0

    @property
    def expands(self) -> bool:
        """Whether there is an expansion."""
        return self.expanded != self.inputs

    @property
    def adds(self) -> bool:
        """Whether the input is added to the output."""
        return self.strides == 1 and self.inputs == self.outputs


def stages(
    stem: int,
    table: Iterable[tuple[int, int, int, int, int]],
    activation: str,
    squeeze: Callable[[int], SqueezeExcite] | None = None,
    drop: float = 0.0,
) -> list[InvertedResidual]:
    """The blocks of stages that repeat one of them.

    Args:
        stem: Channels that come in.
        table: Of each stage the expansion, window, channels, number of blocks, and the stride of
            the first of them.
        activation: As in `InvertedResidual`.
        squeeze: Function of the channels that come into a block.
        drop: Rises from block to block from 0 to this.
    """
    rows, inputs = [], stem
    total = sum(count for _, _, _, count, _ in table)
    for expansion, kernel_size, outputs, count, strides in table:
        for index in range(count):
            rows.append(
                InvertedResidual(
                    prefix=f"block{len(rows) + 1}",
                    inputs=inputs,
                    expanded=expansion * inputs,
                    outputs=outputs,
                    kernel_size=kernel_size,
                    strides=1 if index else strides,
                    activation=activation,
                    squeeze=squeeze and squeeze(inputs),
                    drop=drop * len(rows) / total,
                )
            )
            inputs = outputs
    return rows


def full_channels(stem: int, rows: Iterable[InvertedResidual], head: int) -> dict[str, int]:
    """Returns the width of every channel group, in forward order."""
    full = {"stem_conv": stem}
    for row in rows:
        if row.expands:
            full[f"{row.prefix}_expand_conv"] = row.expanded
        if row.squeeze:
            full[f"{row.prefix}_squeeze_conv"] = row.squeeze.width
        if not row.adds:
            full[f"{row.prefix}_project_conv"] = row.outputs
    return full | {"head_conv": head}


def trunk(
    blocks: Blocks, x, rows: Iterable[InvertedResidual], width: Mapping[str, int], activation: str
):
    """Stem, blocks and head, down to one vector per image.

    Args:
        blocks: Makes the layers.
        x: Symbolic images [batch, height, width, channels].
        rows: The blocks.
        width: Channels to build, by group, named as `full_channels` does.
        activation: Name of the activation of stem and head.

    Returns:
        Symbolic vectors [batch, width of "head_conv"].
    """
    x = blocks.convolution(x, width["stem_conv"], "stem_conv", strides=2)
    x = keras.layers.Activation(activation, name="stem_activation")(x)
    stream = "stem_conv"
    for row in rows:
        if not row.adds:
            stream = f"{row.prefix}_project_conv"
        x = _block(blocks, x, row, width, width[stream])
    x = blocks.convolution(x, width["head_conv"], "head_conv", kernel_size=1)
    x = keras.layers.Activation(activation, name="head_activation")(x)
    return keras.layers.GlobalAveragePooling2D(name="pool")(x)


def _block(blocks: Blocks, x, row: InvertedResidual, width: Mapping[str, int], outputs: int):
    prefix, skip = row.prefix, x
    if row.expands:
        expand = f"{prefix}_expand_conv"
        x = blocks.convolution(x, width[expand], expand, kernel_size=1)
        x = keras.layers.Activation(row.activation, name=f"{prefix}_expand_activation")(x)
    x = blocks.depthwise(
        x, f"{prefix}_depthwise_conv", kernel_size=row.kernel_size, strides=row.strides
    )
    x = keras.layers.Activation(row.activation, name=f"{prefix}_depthwise_activation")(x)
    if row.squeeze:
        x = _squeeze_excite(blocks, x, row.squeeze, width[f"{prefix}_squeeze_conv"], prefix)
    x = blocks.convolution(x, outputs, f"{prefix}_project_conv", kernel_size=1)
    if row.adds:
        if row.drop:
            x = blocks.dropout(x, row.drop, f"{prefix}_drop", whole=True)
        x = keras.layers.Add(name=f"{prefix}_add")([skip, x])
    return x


def _squeeze_excite(blocks: Blocks, x, squeeze: SqueezeExcite, width: int, prefix: str):
    y = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{prefix}_squeeze_pool")(x)
    for name, filters, activation in (
        ("squeeze", width, squeeze.activation),
        ("excite", x.shape[-1], squeeze.gate),
    ):
        y = blocks.bare_convolution(
            y, filters, f"{prefix}_{name}_conv", kernel_size=1, use_bias=True
        )
        y = keras.layers.Activation(activation, name=f"{prefix}_{name}_activation")(y)
    return keras.layers.Multiply(name=f"{prefix}_weigh")([x, y])
