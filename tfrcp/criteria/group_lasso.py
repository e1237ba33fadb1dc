"""The norm that a group lasso punishes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfrcp.criteria.base import Criterion, finite_weights
from tfrcp.criteria.gates import scales_of
from tfrcp.graph.channels import ChannelGraph


class GroupLasso(Criterion):
    r"""The root mean square of the weights that scale a channel: \(\|w_j\|_2 / \sqrt{p_j}\).

    \(w_j\) holds all \(p_j\) weights that a channel is scaled by, wherever it lives: scale and
    offset of every batch norm (or other normalization with a scale) that it passes, and kernel and
    bias of a layer that makes it and is followed by none. A kernel in front of a batch norm is left
    out, as its norm changes nothing. With all these at zero the channel is zero, and can go.

    It is the ranking that belongs to a base trained with `Recipe(sparsity="group_lasso")`, which
    punishes \(\sqrt{p_j} \|w_j\|_2\): Yuan and Lin (2006); Wen et al., "Learning Structured
    Sparsity in Deep Neural Networks", NeurIPS 2016. Groups are compared as they are.
    """

    def __call__(
        self, model: keras.Model, graph: ChannelGraph, data: Any = None
    ) -> dict[str, np.ndarray]:
        """Scores every channel of every prunable group; `data` is not used."""
        weights, scales = finite_weights(graph, model), scales_of(graph)
        found = {}
        for group in graph.prunable:
            squares, count = np.zeros(group.size), np.zeros(group.size)
            for layer, name, axis, channel_of in scales[group.name]:
                weight = weights[layer].get(name)
                if weight is None:  # A batch norm that has no scale has one of 1.
                    weight = np.ones(len(channel_of))
                here = channel_of >= 0
                rows = np.moveaxis(weight.astype("float64"), axis, 0)
                rows = rows.reshape(len(rows), -1)[here]
                squares += np.bincount(channel_of[here], (rows**2).sum(axis=1), group.size)
                count += rows.shape[1] * np.bincount(channel_of[here], minlength=group.size)
            if not count.all():
                raise ValueError(
                    f"The criterion GroupLasso does not apply to group '{group.name}': it has no "
                    "weights that scale its channels. Use another criterion."
                )
            found[group.name] = np.sqrt(squares / count)
        return found
