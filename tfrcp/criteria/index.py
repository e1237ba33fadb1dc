"""First channels first: the order in which a supernet is trained."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfrcp.criteria.base import Criterion
from tfrcp.graph.channels import ChannelGraph


class Index(Criterion):
    """The number of channels that come after: every group keeps its first channels.

    For the weights of a `tfrcp.Supernet`, whose narrower widths are trained to be just these. In
    any other network the order means nothing.
    """

    def __call__(
        self, model: keras.Model, graph: ChannelGraph, data: Any = None
    ) -> dict[str, np.ndarray]:
        """Scores every channel by its place; neither weights nor data are used."""
        return {group.name: np.arange(group.size, 0.0, -1) - 1 for group in graph.prunable}
