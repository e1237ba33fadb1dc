"""Training that leaves channels at zero: penalties on scales, taken by proximal steps.

The penalty is no part of the gradient. After each step of the optimizer the weights that it falls
on are moved to where the penalty and the squared distance together are least (Parikh and Boyd,
"Proximal Algorithms", 2014, section 6.5.4), so that what is not needed becomes exactly zero, which
subgradients never make it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrcp.criteria.gates import Piece, scales_of
from tfrcp.graph.channels import ChannelGraph, ChannelGroup
from tfrcp.graph.weights import variables_of
from tfrcp.space.fixing import meant_by


class Sparsity:
    r"""A penalty \(\lambda \sum_j \sqrt{p_j} \|w_j\|_2\) on a model's scales.

    Each \(w_j\) holds \(p_j\) weights. With `kind="batch_norm_scale"` that is a single scale
    \(\gamma\) of a batch norm, so that the penalty is \(\lambda \sum |\gamma|\): Liu et al.,
    "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017. With
    `kind="group_lasso"` it is all that scales one channel, in all the layers that it lives in (see
    `tfrcp.criteria.GroupLasso`): Wen et al., "Learning Structured Sparsity in Deep Neural
    Networks", NeurIPS 2016, on the traced groups. Frozen and fixed groups are not punished.

    After every step

    \[w_j \leftarrow \max(0, 1 - \delta \lambda \sqrt{p_j} / \|w_j\|_2) \, w_j,\]

    where \(\delta\) is what a constant gradient of 1 moves a weight by in that step: the learning
    rate and what momentum adds (`Recipe.displacements`). So what is zero stays zero while its
    gradient, averaged as momentum does, is below \(\lambda\): as at the minimum of the loss with
    the penalty added.

    Args:
        kind: "batch_norm_scale" or "group_lasso".
        strength: \(\lambda\), at least 0.
        graph: The trace of the model, or of one with equally named layers.
        model: The model that is trained.
        fixed: Groups, layers, names or patterns that are not punished; see `tfrcp.SearchSpace`.

    Attributes:
        groups: Number of groups that are punished.
        spared: Maps names of prunable groups that are not punished to the reason.

    Raises:
        ValueError: If no group can be punished.
    """

    def __init__(
        self,
        kind: str,
        strength: float,
        graph: ChannelGraph,
        model: keras.Model,
        fixed: Iterable[Any] = (),
    ) -> None:
        self._strength = float(strength)
        self.groups, self.spared = 0, dict[str, str]()
        self._parts: dict[tuple[str, str], tuple[keras.Variable, int, np.ndarray]] = {}
        self._sizes = [0.0]  # of all vectors; the first holds what is not punished
        variables = variables_of(graph, model)
        trainable = {id(variable) for variable in model.trainable_variables}
        still = {column for entry in fixed for column in meant_by(graph, entry)}
        scales = scales_of(graph)
        for column, group in enumerate(graph.prunable):
            if kind == "group_lasso":
                pieces = scales[group.name]
            else:
                pieces = _scales(group)
            found = [variables.get(layer, {}).get(weight) for layer, weight, _, _ in pieces]
            if column in still:
                self.spared[group.name] = "fixed"
            elif not pieces or any(variable is None for variable in found):
                self.spared[group.name] = "has no scale"
            elif self._cross(pieces):
                self.spared[group.name] = "lies along several axes of a weight"
            elif any(id(variable) not in trainable for variable in found):
                self.spared[group.name] = "is not trained"
            else:
                self.groups += 1
                self._punish(pieces, found, together=kind == "group_lasso")
        if not self._parts:
            raise ValueError(
                f"`sparsity='{kind}'` finds nothing to punish in '{model.name}': {self.spared}. "
                "Penalties on batch norms need batch norms with a scale; 'group_lasso' takes "
                "kernels where there are none."
            )

    def _cross(self, pieces: list[Piece]) -> bool:
        """Whether pieces lie along another axis of a weight than others of it do."""
        axes = {key: axis for key, (_, axis, _) in self._parts.items()}
        return any(axes.setdefault((layer, w), axis) != axis for layer, w, axis, _ in pieces)

    def _punish(
        self,
        pieces: list[Piece],
        variables: list[keras.Variable],
        *,
        together: bool,
    ) -> None:
        """Takes up the weights of a group, a channel's in one vector or each in its own."""
        first = len(self._sizes)
        for (layer, weight, axis, channel_of), variable in zip(pieces, variables, strict=True):
            here = np.flatnonzero(channel_of >= 0)
            vectors = channel_of[here] + first
            if not together:
                vectors = np.arange(len(here)) + len(self._sizes)
            new = vectors.max() + 1 - len(self._sizes)
            self._sizes += [0.0] * max(new, 0)
            for vector in vectors:
                self._sizes[vector] += np.prod(variable.shape) / variable.shape[axis]
            none = variable, axis, np.zeros(variable.shape[axis], dtype="int32")
            self._parts.setdefault((layer, weight), none)[2][here] = vectors

    def _norms(self) -> tf.Tensor:
        """The norm of every vector, float32 [vectors]."""
        total = tf.zeros(len(self._sizes))
        for variable, axis, vectors in self._parts.values():
            squares = tf.square(tf.cast(tf.convert_to_tensor(variable), "float32"))
            others = [i for i in range(len(variable.shape)) if i != axis]
            squares = tf.reduce_sum(squares, axis=others)
            total += tf.math.unsorted_segment_sum(squares, vectors, len(self._sizes))
        return tf.sqrt(total)

    def _weights(self) -> np.ndarray:
        """What every norm is multiplied by in the penalty, float32 [vectors]."""
        return (self._strength * np.sqrt(self._sizes)).astype("float32")

    def penalty(self) -> tf.Tensor:
        """The penalty, in the units of the loss."""
        return tf.reduce_sum(self._weights() * self._norms())

    def shrink(self, displacement: Any) -> None:
        """The proximal step.

        Args:
            displacement: What a gradient of 1 moves a weight by; 0 changes nothing.
        """
        norms = self._norms()
        by = tf.cast(displacement, "float32") * self._weights()
        share = tf.where(norms > by, 1 - tf.math.divide_no_nan(by, norms), 0.0)
        for variable, axis, vectors in self._parts.values():
            shape = [-1 if i == axis else 1 for i in range(len(variable.shape))]
            factor = tf.reshape(tf.gather(share, vectors), shape)
            variable.assign(tf.convert_to_tensor(variable) * tf.cast(factor, variable.dtype))

    def __str__(self) -> str:
        spared = ", ".join(f"{name} ({why})" for name, why in self.spared.items())
        return f"punishes {self.groups} groups{spared and ', but not '}{spared}"

    def zeros(self) -> float:
        """The share of the punished channels (of single scales) that are zero, in [0, 1]."""
        return float(np.mean(self._norms().numpy()[np.array(self._sizes) > 0] == 0))


def _scales(group: ChannelGroup) -> list[Piece]:
    """The scales of the normalizations that a group's channels pass."""
    return [
        (piece.layer, piece.weight, piece.axis, piece.channel_of)
        for piece in group.slices
        if piece.weight == "gamma" and piece.role == "channelwise"
    ]
