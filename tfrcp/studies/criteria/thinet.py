"""What the next layers lose of their outputs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfrcp.criteria import OptimalBrainSurgeon
from tfrcp.criteria.elimination import eliminate
from tfrcp.graph.channels import ChannelGraph


class ThiNet(OptimalBrainSurgeon):
    r"""What the layers that read a channel lose of their outputs when it goes, after those before.

    Luo et al., "ThiNet: A Filter Level Pruning Method for Deep Neural Network Compression" (ICCV
    2017, arXiv 1707.06342): channels are removed greedily, and the next one is that with which the
    squared error of the next layer's outputs grows least,

    \[\| \sum_{k \in S \cup \{j\}} w_k x_k \|^2 = \operatorname{tr} W_S^T G W_S,\]

    from the second moments G of its inputs, gathered once. Weights are fitted afterwards, as those
    of all rows; He et al., "Channel Pruning for Accelerating Very Deep Neural Networks" (ICCV
    2017), choose by a lasso over the same error. Errors are relative to the variance of a layer's
    outputs, summed over the layers that read the group.
    """

    def __call__(
        self, model: keras.Model, graph: ChannelGraph, data: Any = None
    ) -> dict[str, np.ndarray]:
        """Scores every channel of every prunable group; `data` are images, perhaps labelled."""
        look, readers = self.look_at(model, graph, data)
        paths = {path for own in readers.values() for path, _ in own}
        cases = {path: look.case(path, Unfitted) for path in paths}
        return {
            group.name: eliminate(
                [cases[path](places, self.ridge) for path, places in readers[group.name]],
                group.size,
            )
            for group in graph.prunable
        }


class Unfitted:
    """A layer whose other inputs do not make up for what is removed.

    Args:
        matrix: The kernel [blocks, inputs, outputs].
        gram: Second moments of the inputs [blocks, inputs, inputs].
        weights: Not used: outputs count alike.
        places: int array [channels, k]: the inputs of each channel.
        ridge: Not used.
    """

    def __init__(
        self,
        matrix: np.ndarray,
        gram: np.ndarray,
        weights: np.ndarray,
        places: np.ndarray,
        *,
        ridge: float,
    ) -> None:
        # Products of what every two channels contribute to the outputs.
        products = (gram * (matrix @ matrix.swapaxes(1, 2))).sum(axis=0)
        self._products = products[places[:, None, :, None], places[None, :, None, :]].sum((2, 3))
        self._products /= products.sum() if products.sum() > 0 else 1.0
        self._gone = np.zeros(len(places))

    def losses(self, alive: np.ndarray) -> np.ndarray:
        """By how much the error grows, float array [n]."""
        return np.diag(self._products)[alive] + 2 * self._gone[alive]

    def remove(self, channels: np.ndarray) -> None:
        """Removes channels, int array [n]."""
        self._gone += self._products[:, channels].sum(axis=1)
