"""The pieces that the builders share: input, normalised convolution, residual block, classifier.

Layers are named after their convolution: `stage1_block1_conv2` is followed by `stage1_block1_bn2`.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

import keras
import numpy as np

from tfrcp.arguments import check_int


def image_input(
    input_shape: tuple[int | None, int | None, int], *, least: int = 1, sized: bool = False
):
    """Returns the symbolic input [batch, height, width, channels] of a network.

    Args:
        input_shape: (height, width, channels).
        least: Least height and width, pixels.
        sized: Whether height and width must be known.

    Raises:
        ValueError: `input_shape` is not (height, width, channels), or has no such size.
    """
    sizes = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    if len(sizes) != 3 or sizes[2] is None or any(s is not None and not _count(s) for s in sizes):
        raise ValueError(
            "`input_shape` must be (height, width, channels), ints of at least 1. "
            f"Received: input_shape={input_shape!r}"
        )
    if sized and None in sizes:
        raise ValueError(
            "`input_shape` must state height and width: the classifier sees every pixel. "
            f"Received: input_shape={input_shape!r}"
        )
    if any(size is not None and size < least for size in sizes[:2]):
        raise ValueError(
            f"`input_shape` must have height and width of at least {least}, so that there are "
            f"pixels left to pool. Received: input_shape={input_shape!r}"
        )
    return keras.Input(sizes, name="image")


class Convolution(NamedTuple):
    """A convolution of a residual block: output channels, window, stride, groups."""

    filters: int
    kernel_size: int
    strides: int = 1
    groups: int = 1


class Blocks:
    """Makes layers whose initial weights are a function of one seed.

    Kernels are drawn by `HeNormal` (truncated, over the fan-in), each from a seed of its own.

    Args:
        seed: Non-negative int; the same seed gives the same weights.
        padding: How the image is padded for a strided convolution. "symmetric": by the same number
            of zeros on every side, as ResNet, DenseNet and RegNet have it. "same": as in Keras, by
            one zero less on the near sides where the size is even, as MobileNet and EfficientNet
            have it.
        epsilon: Added to the variance in batch norm.
        momentum: Of the moving statistics of batch norm.
    """

    def __init__(
        self,
        seed: int,
        *,
        padding: str = "symmetric",
        epsilon: float = 1e-5,
        momentum: float = 0.9,
    ):
        self._rng = np.random.default_rng(seed)
        self._padding = padding
        self._norm = {"epsilon": epsilon, "momentum": momentum}

    def convolution(
        self,
        x,
        filters: int,
        name: str,
        *,
        kernel_size: int = 3,
        strides: int = 1,
        groups: int = 1,
    ):
        """Bias-free convolution and batch norm.

        Args:
            x: Symbolic images [batch, height, width, channels].
            filters: Output channels.
            name: Name of the convolution, holding "conv".
            kernel_size: Height and width of the window, odd.
            strides: Step of the window, pixels.
            groups: Number of parts in which the channels are convolved.

        Returns:
            Symbolic images [batch, ceil(height / strides), ceil(width / strides), filters].
        """
        x = self.bare_convolution(
            x, filters, name, kernel_size=kernel_size, strides=strides, groups=groups
        )
        return self.batch_norm(x, name.replace("conv", "bn"))

    def bare_convolution(
        self,
        x,
        filters: int,
        name: str,
        *,
        kernel_size: int = 3,
        strides: int = 1,
        groups: int = 1,
        use_bias: bool = False,
    ):
        """Convolution without batch norm; arguments as for `convolution`."""
        x, padding = self._pad(x, name, kernel_size, strides)
        return keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            groups=groups,
            use_bias=use_bias,
            kernel_initializer=keras.initializers.HeNormal(seed=self._seed()),
            name=name,
        )(x)

    def depthwise(self, x, name: str, *, kernel_size: int = 3, strides: int = 1):
        """Bias-free convolution of each channel alone, and batch norm; arguments as above.

        The kernel is drawn over the window alone: Keras would take all channels for the fan-in.
        """
        x, padding = self._pad(x, name, kernel_size, strides)
        x = keras.layers.DepthwiseConv2D(
            kernel_size,
            strides=strides,
            padding=padding,
            use_bias=False,
            depthwise_initializer=keras.initializers.VarianceScaling(
                2.0, "fan_out", "truncated_normal", seed=self._seed()
            ),
            name=name,
        )(x)
        return self.batch_norm(x, name.replace("conv", "bn"))

    def batch_norm(self, x, name: str):
        """Batch norm over all axes but the channels'."""
        return keras.layers.BatchNormalization(**self._norm, name=name)(x)

    def stem(self, x, filters: int):
        """7x7 convolution of stride 2 and 3x3 max pool of stride 2: a quarter of the size."""
        x = self.convolution(x, filters, "stem_conv", kernel_size=7, strides=2)
        x = keras.layers.ReLU(name="stem_relu")(x)
        x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
        return keras.layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)

    def residual(self, x, skip, prefix: str, convolutions: Sequence[Convolution]):
        """Convolutions with batch norm and ReLU in between, added to a shortcut, and ReLU.

        Args:
            x: Symbolic images [batch, height, width, channels].
            skip: The shortcut, of the shape of the result.
            prefix: What the names of the layers start with; numbers from 1 follow.
            convolutions: The convolutions of the branch.

        Returns:
            Symbolic images of the shape of `skip`.
        """
        for index, (filters, kernel_size, strides, groups) in enumerate(convolutions, 1):
            if index > 1:
                x = keras.layers.ReLU(name=f"{prefix}_relu{index - 1}")(x)
            name = f"{prefix}_conv{index}"
            x = self.convolution(
                x, filters, name, kernel_size=kernel_size, strides=strides, groups=groups
            )
        # The shortcut first: Keras then runs the last convolution before a projection, and so the
        # first layer of a stream is the last convolution of its first block.
        x = keras.layers.Add(name=f"{prefix}_add")([skip, x])
        return keras.layers.ReLU(name=f"{prefix}_relu{len(convolutions)}")(x)

    def dropout(self, x, rate: float, name: str, *, whole: bool = False):
        """Dropout of single values, or of `whole` images (stochastic depth)."""
        return keras.layers.Dropout(
            rate,
            noise_shape=(None,) + (1,) * (len(x.shape) - 1) if whole else None,
            seed=self._seed(),
            name=name,
        )(x)

    def dense(self, x, units: int, name: str):
        """Dense layer with bias."""
        return keras.layers.Dense(
            units, kernel_initializer=keras.initializers.HeNormal(seed=self._seed()), name=name
        )(x)

    def classifier(self, x, classes: int):
        """Dense layer to logits [batch, classes].

        Raises:
            ValueError: `classes` is not an int of at least 1.
        """
        return self.dense(x, check_int("classes", classes, 1), "classifier")

    def _pad(self, x, name: str, kernel_size: int, strides: int):
        """The images as a convolution is to see them, and the padding that it adds itself."""
        if strides == 1 or self._padding == "same":
            return x, "same"
        if kernel_size > 1:
            x = keras.layers.ZeroPadding2D(kernel_size // 2, name=name.replace("conv", "pad"))(x)
        return x, "valid"

    def _seed(self) -> int:
        return int(self._rng.integers(2**31))


def _count(value) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 1
