"""The best known criterion that a model and its data allow."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np

from tfrcp.arguments import check_int
from tfrcp.criteria.base import Criterion
from tfrcp.criteria.norm import L1
from tfrcp.criteria.optimal_brain_surgeon import OptimalBrainSurgeon
from tfrcp.criteria.taylor import Taylor
from tfrcp.graph.channels import ChannelGraph

_FEW = 4  # images that tell whether it works


class Automatic(Criterion):
    """`optimal_brain_surgeon` where images and a loss allow it, else `taylor`, else `l1`.

    The first was best inside groups before training: docs/method.md.

    Args:
        images: Images to look at.
    """

    def __init__(self, *, images: int = 256) -> None:
        self.images = check_int("images", images, 2)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {"images": self.images}

    def choose(self, model: keras.Model, graph: ChannelGraph, data: Any = None) -> Criterion:
        """The criterion that it stands for; each is tried on a handful of images."""
        if data is not None:
            some = {"images": _FEW, "verbose": False}
            with contextlib.suppress(ValueError, TypeError, KeyError):
                OptimalBrainSurgeon(**some).look_at(model, graph, data)
                return OptimalBrainSurgeon(images=self.images)
            with contextlib.suppress(ValueError, TypeError, KeyError):
                Taylor(**some)(model, graph, data)
                return Taylor(images=self.images)
        return L1()

    def __call__(
        self, model: keras.Model, graph: ChannelGraph, data: Any = None
    ) -> dict[str, np.ndarray]:
        """Scores every channel of every prunable group; `data` are labelled images, or not."""
        return self.choose(model, graph, data)(model, graph, data)
