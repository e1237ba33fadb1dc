"""Random scores: the control that belongs in every comparison."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfrcp.criteria.base import Criterion
from tfrcp.graph.channels import ChannelGraph


class Random(Criterion):
    """Independent uniform draws.

    Args:
        seed: Int. Defaults to 0.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def __call__(
        self, model: keras.Model, graph: ChannelGraph, data: Any = None
    ) -> dict[str, np.ndarray]:
        """Draws a score for every channel; neither model nor data are used."""
        random = np.random.default_rng(self.seed)
        return {group.name: random.random(group.size) for group in graph.prunable}

    def get_config(self) -> dict[str, Any]:
        """The seed."""
        return {"seed": self.seed}
