"""Trainings of the base that a method has of its own before it prunes, in place.

`slimming` (Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV
2017) punishes the scales of batch norms, `group_lasso` (Wen et al., "Learning Structured Sparsity
in Deep Neural Networks", NeurIPS 2016) all that scales a channel, both by proximal steps; see
`tfrcp.training.Sparsity`. `soft` (He et al., "Soft Filter Pruning for Accelerating Deep
Convolutional Neural Networks", IJCAI 2018, arXiv 1808.06866) sets the filters with the least L2
norms to zero after every epoch, and trains them on. `supernet` trains all widths at once, from
which a search then takes one (Liu et al., "MetaPruning", ICCV 2019, arXiv 1903.10258, whose weights
a network predicts; here they are shared, see `tfrcp.Supernet`). `longer` trains as long without any
of this: the control.

All take the same epochs over the training images from the same base, by the recipe of fine-tuning
with a learning rate of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfrcp import training
from tfrcp.criteria import L2
from tfrcp.data import Batches
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.inheritance import select
from tfrcp.graph.weights import variables_of
from tfrcp.scoring.losses import crossentropy
from tfrcp.space.budget import Budget
from tfrcp.space.space import SearchSpace
from tfrcp.training.fit import count_steps

PREPARATIONS = ("longer", "slimming", "group_lasso", "soft", "supernet")
_SPARSITY = {"slimming": "batch_norm_scale", "group_lasso": "group_lasso"}
_RANDOM_WIDTHS = 1  # of a supernet's step, beside the largest and the smallest


def prepare(
    kind: str,
    model: keras.Model,
    graph: ChannelGraph,
    batches: Callable[[int], Batches],
    recipe: training.Recipe,
    channels: np.ndarray,
    space: SearchSpace,
    budget: Budget,
) -> int:
    """Trains a copy of the base as a method has it.

    Args:
        kind: One of `PREPARATIONS`.
        model: The copy, changed in place.
        graph: Its trace.
        batches: Function of the epoch to its batches.
        recipe: How to train, strength of penalties included.
        channels: int array [prunable groups] that `soft` leaves: uniform widths at the target.
        space: Widths of a supernet.
        budget: What its random widths meet.

    Returns:
        How often every image of an epoch went through a network, over all epochs.
    """
    if kind == "supernet":
        _train_supernet(model, batches, recipe, space, budget)
        return recipe.epochs * (2 + _RANDOM_WIDTHS)
    recipe = dataclasses.replace(recipe, sparsity=_SPARSITY.get(kind, ""))
    callbacks = [_Soft(graph, channels)] if kind == "soft" else []
    training.fit(model, batches, None, recipe, callbacks=callbacks, verbose=False)
    return recipe.epochs


class _Soft(keras.callbacks.Callback):
    """Sets the weakest filters to zero after every epoch."""

    def __init__(self, graph: ChannelGraph, channels: np.ndarray) -> None:
        super().__init__()
        self._graph, self._channels = graph, channels

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Sets the filters to zero."""
        masks = select(self._graph, L2()(self.model, self._graph), self._channels)
        variables = variables_of(self._graph, self.model)
        for group in self._graph.prunable:
            kept = np.append(masks[group.name], True)  # the last stands for other groups' channels
            for piece in group.slices:
                if piece.role == "output":
                    variable = variables[piece.layer][piece.weight]
                    shape = [-1 if axis == piece.axis else 1 for axis in range(variable.ndim)]
                    factor = kept[piece.channel_of].astype("float32").reshape(shape)
                    variable.assign(variable * factor)


def _train_supernet(
    model: keras.Model,
    batches: Callable[[int], Batches],
    recipe: training.Recipe,
    space: SearchSpace,
    budget: Budget,
) -> None:
    supernet = training.Supernet(model, space, budget=budget, random_widths=_RANDOM_WIDTHS)
    steps = count_steps(batches(0))
    supernet.compile(recipe.optimizer(model, steps), crossentropy(model))
    for epoch in range(recipe.epochs):
        supernet.fit(batches(epoch).dataset(), shuffle=False, verbose=0)
