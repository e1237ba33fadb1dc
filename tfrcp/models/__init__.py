"""Networks to prune: plain Keras builders that take a list of channel counts.

Every builder is found by its name: `getattr(tfrcp.models, "resnet20")`. Its `channels` holds one
int per prunable channel group of the unpruned network, in forward order; `full_channels` names
those groups and their widths without building anything.

`resnet8`, `resnet20`, `resnet32`, `resnet44`, `resnet56`, `resnet110` and `vgg16` are the forms for
CIFAR; all others, `resnet50` and `vgg16_imagenet` among them, are those for ImageNet.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from tfrcp.arguments import check_choice
from tfrcp.models import densenet as _densenet
from tfrcp.models import efficientnet as _efficientnet
from tfrcp.models import imagenet_resnet as _imagenet_resnet
from tfrcp.models import imagenet_vgg as _imagenet_vgg
from tfrcp.models import mobilenet as _mobilenet
from tfrcp.models import mobilenetv2 as _mobilenetv2
from tfrcp.models import mobilenetv3 as _mobilenetv3
from tfrcp.models import regnet as _regnet
from tfrcp.models import resnet as _resnet
from tfrcp.models import vgg as _vgg
from tfrcp.models.applications import load_keras_applications
from tfrcp.models.densenet import densenet121
from tfrcp.models.efficientnet import efficientnet_b0, efficientnet_lite0
from tfrcp.models.imagenet_resnet import resnet18, resnet34, resnet50, resnet101, resnet152
from tfrcp.models.imagenet_vgg import vgg16_imagenet, vgg19_imagenet
from tfrcp.models.imagenet_weights import load_imagenet_weights
from tfrcp.models.mobilenet import mobilenet_v1
from tfrcp.models.mobilenetv2 import mobilenet_v2
from tfrcp.models.mobilenetv3 import mobilenet_v3_large, mobilenet_v3_small
from tfrcp.models.pretrained import (
    load_pytorch_cifar_resnet,
    load_pytorch_efficientnet_lite0,
)
from tfrcp.models.regnet import regnet_x_400mf
from tfrcp.models.resnet import resnet8, resnet20, resnet32, resnet44, resnet56, resnet110
from tfrcp.models.saved import load_keras
from tfrcp.models.vgg import vgg16

__all__ = [
    "densenet121",
    "efficientnet_b0",
    "efficientnet_lite0",
    "full_channels",
    "load_imagenet_weights",
    "load_keras",
    "load_keras_applications",
    "load_pytorch_cifar_resnet",
    "load_pytorch_efficientnet_lite0",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "resnet101",
    "resnet110",
    "resnet152",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet8",
    "vgg16",
    "vgg16_imagenet",
    "vgg19_imagenet",
]

_FULL_CHANNELS = {
    **{f"resnet{n}": partial(_resnet.full_channels, n) for n in (8, 20, 32, 44, 56, 110)},
    **{f"resnet{n}": partial(_imagenet_resnet.full_channels, n) for n in (18, 34, 50, 101, 152)},
    **{f"vgg{n}_imagenet": partial(_imagenet_vgg.full_channels, n) for n in (16, 19)},
    **{f"mobilenet_v3_{s}": partial(_mobilenetv3.full_channels, s) for s in ("small", "large")},
    "densenet121": _densenet.full_channels,
    "efficientnet_b0": _efficientnet.full_channels,
    "efficientnet_lite0": partial(_efficientnet.full_channels, lite=True),
    "mobilenet_v1": _mobilenet.full_channels,
    "mobilenet_v2": _mobilenetv2.full_channels,
    "regnet_x_400mf": _regnet.full_channels,
    "vgg16": _vgg.full_channels,
}


def full_channels(name: str, **options: Any) -> dict[str, int]:
    """Returns the width of every prunable channel group of an unpruned network.

    Args:
        name: Name of a builder, such as "resnet20".
        **options: The builder's own options that change its groups: `shortcut` and `width` of a
            CIFAR ResNet.

    Returns:
        Widths by group name, in forward order: the order of the builder's `channels`. A group is
        named as the first layer that makes its channels.

    Raises:
        ValueError: There is no such network.
    """
    check_choice("name", name, sorted(_FULL_CHANNELS))
    return _FULL_CHANNELS[name](**options)
