"""The best known criterion that a model and its data allow."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfrcp.criteria.base import Criterion
from tfrcp.criteria.images import check_count
from tfrcp.criteria.norm import L1
from tfrcp.criteria.taylor import Taylor
from tfrcp.graph.channels import ChannelGraph

_FEW = 4  # images that tell whether it works


class Automatic(Criterion):
    """`taylor` where labels and a loss allow it, else `l1`.

    Taylor was best of all before training, inside groups and as a ranking of all channels:
    docs/method.md.

    Args:
        images: Images that Taylor looks at.
    """

    def __init__(self, *, images: int = 512) -> None:
        self.images = check_count("images", images, 2)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {"images": self.images}

    def choose(self, model: keras.Model, graph: ChannelGraph, data: Any = None) -> Criterion:
        """The criterion that it stands for; Taylor is tried on a handful of images."""
        if data is None:
            return L1()
        try:
            Taylor(images=_FEW, verbose=False)(model, graph, data)
        except (ValueError, TypeError, KeyError):
            return L1()
        return Taylor(images=self.images)

    def __call__(
        self, model: keras.Model, graph: ChannelGraph, data: Any = None
    ) -> dict[str, np.ndarray]:
        """Scores every channel of every prunable group; `data` are labelled images, or not."""
        return self.choose(model, graph, data)(model, graph, data)
