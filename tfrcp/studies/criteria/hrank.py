"""The rank of the feature maps of a channel."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfrcp.criteria.base import CoupledCriterion, finite_weights
from tfrcp.criteria.images import batches, read_images
from tfrcp.criteria.norm import L1
from tfrcp.criteria.ties import break_ties
from tfrcp.graph.calls import Call
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.program import Program
from tfrcp.graph.weights import slice_weights

_AT_ONCE = 32  # images in a forward pass


class HRank(CoupledCriterion):
    """The mean rank, over images, of the maps that a channel hands to the convolutions behind it.

    Lin et al., "HRank: Filter Pruning using High-Rank Feature Map" (CVPR 2020, arXiv 2002.10179).
    A map [height, width] is what a convolution reads, after the activation; several convolutions
    that read a channel count alike. What dense layers alone read has no maps: there all channels
    count alike. Equal ranks are ordered by the L1 norm of the weights.

    Args:
        images: Images to look at, the first ones. The authors take 500.
    """

    def __init__(self, *, images: int = 160) -> None:
        super().__init__(normalize=False)
        self.images = images

    def __call__(
        self, model: keras.Model, graph: ChannelGraph, data: Any = None
    ) -> dict[str, np.ndarray]:
        """Scores every channel of every prunable group; of `data` only the images are used."""
        x, _ = read_images(graph, data, images=self.images)
        readers = {
            group.name: [
                piece
                for piece in group.slices
                if piece.role == "input" and piece.weight == "kernel" and piece.axis == 2
            ]
            for group in graph.prunable
        }
        watched = {piece.layer for own in readers.values() for piece in own}
        ranks = _mean_ranks(model, graph, x, watched)
        norms = L1().of_groups(model, graph, graph.prunable)
        scores = {}
        for group in graph.prunable:
            places = [
                (piece.channel_of, ranks[piece.layer])
                for piece in readers[group.name]
                if piece.layer in ranks
            ]
            score = self.reduce(group, places) if places else np.ones(group.size)
            scores[group.name] = break_ties(score, norms[group.name])
        return scores


def _mean_ranks(
    model: keras.Model, graph: ChannelGraph, images: Any, watched: set[str]
) -> dict[str, np.ndarray]:
    """Mean ranks of the maps that layers read, float arrays [channels] by path."""
    program = Program(graph)
    arrays = slice_weights(graph, finite_weights(graph, model), {})
    sums: dict[str, np.ndarray] = {}
    count = len(keras.tree.flatten(images)[0])

    def step(call: Call, entry: Any, args: tuple, kwargs: dict) -> Any:
        if call.path in watched:
            maps = keras.ops.convert_to_numpy(args[0])
            if maps.ndim == 4:
                found = np.linalg.matrix_rank(np.moveaxis(maps, 3, 1)).sum(axis=0)
                sums[call.path] = sums.get(call.path, 0) + found / count
        return program.step(call, entry, args, kwargs)

    for batch in batches(images, _AT_ONCE):
        program.interpret(arrays, batch, step)
    return sums
