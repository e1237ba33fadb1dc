"""What a criterion is: a score for every channel, higher meaning keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from tfrcp.arguments import check_choice
from tfrcp.graph.channels import ChannelGraph, ChannelGroup, WeightSlice
from tfrcp.graph.weights import Weights, read_weights

LayerScores = tuple[np.ndarray, np.ndarray]
"""The group's channel at each position of a layer (-1 where it is another's), and the scores."""

_REDUCTIONS = {"mean": np.mean, "sum": np.sum, "max": np.max}


class Criterion:
    """Scores channels. Hyperparameters go into `__init__`, data into the call."""

    #: Whether rankings of the channels of all groups by it are worth trying.
    ranks_groups = True

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


class CoupledCriterion(Criterion):
    """A score that is read in every layer that a channel lives in, then reduced to one.

    Args:
        reduction: "mean", "sum" or "max" over those layers.
        normalize: Whether the scores of a layer are first divided by their mean over all its
            channels, so that layers are comparable.
    """

    #: What a place is called in messages.
    place = "layer that makes the channels"
    #: What `reduction` may be.
    reductions: tuple[str, ...] = tuple(_REDUCTIONS)

    def __init__(self, *, reduction: str = "mean", normalize: bool = True) -> None:
        check_choice("reduction", reduction, self.reductions)
        if not isinstance(normalize, bool):
            raise ValueError(f"`normalize` must be a bool. Received: normalize={normalize!r}")
        self.reduction, self.normalize = reduction, normalize

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {"reduction": self.reduction, "normalize": self.normalize}

    def reduce(self, group: ChannelGroup, places: Iterable[LayerScores]) -> np.ndarray:
        """Reduces the scores of the layers in which a group's channels live.

        A channel that takes several positions of a layer has their mean there.

        Args:
            group: The group.
            places: One pair per layer: int array [positions] with the group's channel at each
                position, -1 where it is another group's, and float64 array [positions] of scores.

        Returns:
            float64 array [size].

        Raises:
            ValueError: If there is no place.
        """
        scores = []
        for channel_of, score in places:
            if self.normalize:
                score = score / (score.mean() or 1.0)
            here = channel_of >= 0
            total = np.bincount(channel_of[here], score[here], minlength=group.size)
            scores.append(total / np.bincount(channel_of[here], minlength=group.size))
        if not scores:
            raise self.refusal(group)
        return _REDUCTIONS[self.reduction](scores, axis=0)

    def refusal(self, group: ChannelGroup) -> ValueError:
        """The error for a group that has no place at which the score could be read."""
        return ValueError(
            f"The criterion {type(self).__name__} does not apply to group '{group.name}': it has "
            f"no {self.place}. Use another criterion."
        )


class WeightCriterion(CoupledCriterion):
    """A score read off the weights of the layers that a channel lives in."""

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
        return self.of_groups(model, graph, graph.prunable)

    def of_groups(
        self, model: keras.Model, graph: ChannelGraph, groups: Iterable[ChannelGroup]
    ) -> dict[str, np.ndarray]:
        """Scores every channel of some groups."""
        weights = self.weights(model, graph)
        return {group.name: self.reduce(group, self._places(group, weights)) for group in groups}

    def weights(self, model: keras.Model, graph: ChannelGraph) -> Weights:
        """The weights that are scored, by layer path and weight name."""
        return finite_weights(graph, model)

    def _places(self, group: ChannelGroup, weights: Weights) -> Iterator[LayerScores]:
        for piece in group.slices:
            if not self.applies(piece):
                continue
            weight = weights[piece.layer][piece.weight].astype("float64")
            rows = np.moveaxis(weight, piece.axis, 0).reshape(weight.shape[piece.axis], -1)
            yield piece.channel_of, self.score(rows)


def finite_weights(graph: ChannelGraph, model: keras.Model) -> Weights:
    """All weights with channels, as `read_weights` returns them.

    Raises:
        ValueError: If there are others than finite numbers among them; activations hide them.
    """
    weights = read_weights(graph, model)
    for layer, arrays in weights.items():
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError(f"The weights of layer '{layer}' are not all finite numbers.")
    return weights
