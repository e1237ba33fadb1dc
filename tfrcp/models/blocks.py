"""The pieces that the builders share: input, normalised convolution, classifier.

Layers are named after their convolution: `stage1_block1_conv2` is followed by `stage1_block1_bn2`.
"""

from __future__ import annotations

from numbers import Integral

import keras
import numpy as np


def image_input(input_shape: tuple[int | None, int | None, int]):
    """Returns the symbolic input [batch, height, width, channels] of a network.

    Raises:
        ValueError: `input_shape` is not (height, width, channels).
    """
    sizes = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    if len(sizes) != 3 or sizes[2] is None or any(s is not None and not _count(s) for s in sizes):
        raise ValueError(
            "`input_shape` must be (height, width, channels), ints of at least 1. "
            f"Received: input_shape={input_shape!r}"
        )
    return keras.Input(sizes, name="image")


class Blocks:
    """Makes layers whose initial weights are a function of one seed.

    Kernels are drawn by `HeNormal` (truncated, over the fan-in), each from a seed of its own.

    Args:
        seed: Non-negative int; the same seed gives the same weights.
    """

    def __init__(self, seed: int):
        self._rng = np.random.default_rng(seed)

    def convolution(self, x, filters: int, name: str, *, kernel_size: int = 3, strides: int = 1):
        """Bias-free convolution and batch norm.

        A 3x3 kernel sees one pixel of zeros on every side of the image, also at stride 2, where
        Keras's `padding="same"` would pad the far sides alone.

        Args:
            x: Symbolic images [batch, height, width, channels].
            filters: Output channels.
            name: Name of the convolution, holding "conv".
            kernel_size: 3 or 1.
            strides: 1 or 2.

        Returns:
            Symbolic images [batch, ceil(height / strides), ceil(width / strides), filters].
        """
        if kernel_size == 3 and strides == 2:
            x = keras.layers.ZeroPadding2D(1, name=name.replace("conv", "pad"))(x)
        x = keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding="same" if strides == 1 else "valid",
            use_bias=False,
            kernel_initializer=self._initializer(),
            name=name,
        )(x)
        return keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, name=name.replace("conv", "bn")
        )(x)

    def classifier(self, x, classes: int):
        """Dense layer to logits [batch, classes].

        Raises:
            ValueError: `classes` is not an int of at least 1.
        """
        if not _count(classes):
            raise ValueError(
                f"`classes` must be an int of at least 1. Received: classes={classes!r}"
            )
        return keras.layers.Dense(
            int(classes), kernel_initializer=self._initializer(), name="classifier"
        )(x)

    def _initializer(self) -> keras.initializers.Initializer:
        return keras.initializers.HeNormal(seed=int(self._rng.integers(2**31)))


def _count(value) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 1
