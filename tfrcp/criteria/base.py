"""What a criterion is: a score for every channel, higher meaning keep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tfrcp.graph.channels import ChannelGraph, ChannelGroup, WeightSlice
from tfrcp.graph.program import Weights, read_weights


class Criterion:
    """Scores channels. Hyperparameters go into `__init__`, data into the call."""

    def __call__(
        self, model: keras.Model, graph: ChannelGraph, data: Any = None
    ) -> dict[str, np.ndarray]:
        """Scores every channel of every prunable group.

        Args:
            model: The model that was traced, or one with equally named layers.
            graph: Its trace.
            data: A batched `tf.data.Dataset`, a tuple of arrays (x, y), x alone, or a `PyDataset`;
                criteria that look at the weights alone ignore it.

        Returns:
            Dict that maps the name of every prunable group to a float64 array [size]; higher means
            keep.

        Raises:
            ValueError: If the criterion does not apply to the model.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Criterion:
        """The criterion with these arguments."""
        return cls(**config)


class WeightCriterion(Criterion):
    """A score read off the weights of the layers that a channel lives in.

    A coupled channel lives in several layers. The scores of each layer are divided by their mean
    over all channels of that layer, so that layers are comparable; then they are averaged.
    """

    #: What a place is called in messages.
    place = "layer that makes the channels"

    def applies(self, piece: WeightSlice) -> bool:
        """Whether the score is read at this place."""
        raise NotImplementedError

    def score(self, weight: np.ndarray) -> np.ndarray:
        """Scores of a layer's channels.

        Args:
            weight: float64 array [channels, weights of a channel].

        Returns:
            float64 array [channels], not negative.
        """
        raise NotImplementedError

    def __call__(
        self, model: keras.Model, graph: ChannelGraph, data: Any = None
    ) -> dict[str, np.ndarray]:
        """Scores every channel of every prunable group; `data` is not used."""
        weights = read_weights(graph, model)
        return {group.name: self._group(group, weights) for group in graph.prunable}

    def _group(self, group: ChannelGroup, weights: Weights) -> np.ndarray:
        scores = list(self._places(group, weights))
        if not scores:
            raise ValueError(
                f"The criterion {type(self).__name__} does not apply to group '{group.name}': it "
                f"has no {self.place}. Use another criterion, or leave the group alone (`fixed`)."
            )
        return np.mean(scores, axis=0)

    def _places(self, group: ChannelGroup, weights: Weights) -> Iterator[np.ndarray]:
        for piece in group.slices:
            if not self.applies(piece):
                continue
            weight = weights[piece.layer][piece.weight].astype("float64")
            rows = np.moveaxis(weight, piece.axis, 0).reshape(weight.shape[piece.axis], -1)
            score = self.score(rows)
            if not np.isfinite(score).all():
                raise ValueError(
                    f"The weights of layer '{piece.layer}' are not all finite numbers."
                )
            score = score / (score.mean() or 1.0)
            here = piece.channel_of >= 0
            total = np.bincount(piece.channel_of[here], score[here], minlength=group.size)
            yield total / np.bincount(piece.channel_of[here], minlength=group.size)
