"""Networks to prune: plain Keras builders that take a list of channel counts.

Every builder is found by its name: `getattr(tfrcp.models, "resnet20")`. Its `channels` holds one
int per prunable channel group of the unpruned network, in forward order; `full_channels` names
those groups and their widths without building anything.
"""

from __future__ import annotations

from functools import partial

from tfrcp.models import resnet as _resnet
from tfrcp.models import vgg as _vgg
from tfrcp.models.pretrained import load_pytorch_cifar_resnet
from tfrcp.models.resnet import resnet20, resnet32, resnet44, resnet56, resnet110
from tfrcp.models.vgg import vgg16

__all__ = [
    "full_channels",
    "load_pytorch_cifar_resnet",
    "resnet110",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "vgg16",
]

_FULL_CHANNELS = {
    **{f"resnet{n}": partial(_resnet.full_channels, n) for n in (20, 32, 44, 56, 110)},
    "vgg16": _vgg.full_channels,
}


def full_channels(name: str, **options) -> dict[str, int]:
    """Returns the width of every prunable channel group of an unpruned network.

    Args:
        name: Name of a builder, such as "resnet20".
        **options: The builder's own options that change its groups: `shortcut` of a ResNet.

    Returns:
        Widths by group name, in forward order: the order of the builder's `channels`. A group is
        named as the first layer that makes its channels.

    Raises:
        ValueError: There is no such network.
    """
    if name not in _FULL_CHANNELS:
        raise ValueError(f"`name` must be one of {sorted(_FULL_CHANNELS)}. Received: name={name!r}")
    return _FULL_CHANNELS[name](**options)
