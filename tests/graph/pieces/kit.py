"""Makes layers for images of one rank and data format; used by all pieces."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

#: Length of every spatial axis.
SIZE = 4


class Kit:
    """Makes layers for images of one rank and data format.

    Args:
        rank: Number of spatial axes.
        first: Whether channels come first.

    Attributes:
        axis: The axis of the channels.
        space: The spatial axes.
        random: A piece's own random numbers; every step of a recipe seeds them.
    """

    def __init__(self, rank, first):
        self.rank, self.first = rank, first
        self.axis = 1 if first else -1
        self.space = tuple(range(2, rank + 2) if first else range(1, rank + 1))
        self.random = np.random.default_rng(0)

    def pick(self, *choices):
        return choices[self.random.integers(len(choices))]

    def between(self, low, high):
        """A random int, both ends included."""
        return int(self.random.integers(low, high + 1))

    def layer(self, kind, *args, **options):
        if self.first:
            options["data_format"] = "channels_first"
            if "Conv" in kind:
                # Keras adds a bias along the width where that is as long as there are filters.
                options["use_bias"] = False
        return getattr(layers, kind.replace("#", str(self.rank)))(*args, **options)

    def image(self, channels, name):
        space = (SIZE,) * self.rank
        return keras.Input((channels, *space) if self.first else (*space, channels), name=name)

    def width(self, x):
        return x.shape[self.axis]

    def conv(self, filters, name, size=3, **options):
        return self.layer("Conv#D", filters, size, padding="same", name=name, **options)

    def as_wide(self, y, x, name):
        return y if self.width(y) == self.width(x) else self.conv(self.width(x), name)(y)

    def norm(self, kind, name, **options):
        return getattr(layers, kind)(axis=self.axis, name=name, **options)

    def index(self, channels):
        """`x[key]` that takes a slice of the channels."""
        return (slice(None), channels) if self.first else (Ellipsis, channels)

    def along_channels(self, vector):
        """A vector [channels] as an array that is broadcast over all positions."""
        return np.asarray(vector).reshape(-1, *(1,) * self.rank) if self.first else vector
