"""What small networks are made of, and how they are registered with their groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import keras
from keras import layers


@dataclasses.dataclass(frozen=True)
class Network:
    """A small network and what a trace must find in it.

    Attributes:
        build: Builds the model.
        prunable: Maps the names of the prunable groups to their sizes.
        frozen: Maps the names of the other groups to (size, part of the reason).
        unknown: Maps the names of the operations that no rule knows to their class names.
        tolerance: How far outputs may be apart, relative to 1 + the largest output.
        keeps_zero: Whether a channel that is made as zero arrives as zero at its consumers.
        sized: Whether the image size is fixed, so that the cost is known.
        maskable: Whether masking a channel is the same as removing it.
        regroups: Whether the pruned network has other groups, those of grouped layers.
    """

    build: Callable[[], keras.Model]
    prunable: Mapping[str, int]
    frozen: Mapping[str, tuple[int, str]]
    unknown: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tolerance: float = 1e-4
    keeps_zero: bool = True
    sized: bool = True
    maskable: bool = True
    regroups: bool = False


NETWORKS: dict[str, Network] = {}
HEAD = {"head": (3, "model output")}


def network(prunable, frozen=None, **options):
    def register(build):
        groups = HEAD if frozen is None else frozen
        NETWORKS[build.__name__] = Network(build, prunable, groups, **options)
        return build

    return register


def image(*shape):
    return keras.Input(shape or (6, 6, 2), name="image")


def conv(filters, name, kernel_size=3, **options):
    return layers.Conv2D(filters, kernel_size, padding="same", name=name, **options)


def norm(name, **options):
    return layers.BatchNormalization(name=name, **options)


def unit(x, filters, name, kernel_size=3, **options):
    """Convolution without bias, batch norm, ReLU."""
    x = conv(filters, f"{name}_conv", kernel_size, use_bias=False, **options)(x)
    return layers.ReLU(name=f"{name}_relu")(norm(f"{name}_bn")(x))


def head(x):
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return layers.Dense(3, name="head")(x)
