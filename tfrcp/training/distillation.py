"""How far a network's outputs are from those of a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfrcp.scoring.losses import ends_in_softmax


def distillation(teacher: Any, student: Any, temperature: float) -> Any:
    """How far a student's predictions are from its teacher's.

    temperature^2 times the Kullback-Leibler divergence KL(p, q) of the predictions p, q of teacher
    and student, softened: softmax(logits / temperature). Hinton, Vinyals and Dean (2015, arXiv
    1503.02531), whose cross-entropy differs by a constant.

    Args:
        teacher: Logits [n, classes].
        student: Logits [n, classes].
        temperature: Float above 0.

    Returns:
        Nats [n].
    """
    p = ops.log_softmax(teacher / temperature)
    q = ops.log_softmax(student / temperature)
    return temperature**2 * ops.sum(ops.exp(p) * (p - q), axis=-1)


class Imitation(keras.losses.Loss):
    """How far predictions are from others, as `distillation` has it, of outputs of one model.

    Args:
        temperature: Float above 0.
        probabilities: Whether outputs are those of a softmax, else logits.
    """

    def __init__(self, temperature: float, probabilities: bool) -> None:
        super().__init__(name="imitation")
        self._temperature, self._probabilities = temperature, probabilities

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Nats [batch]."""
        if self._probabilities:
            y_true, y_pred = (ops.log(y + keras.config.epsilon()) for y in (y_true, y_pred))
        return distillation(y_true, y_pred, self._temperature)


def logits(model: keras.Model, outputs: Any) -> Any:
    """Outputs as logits: those of a softmax up to a constant, which no softmax sees."""
    if not ends_in_softmax(model):
        return outputs
    return ops.log(ops.maximum(outputs, keras.config.epsilon()))


def variance_of(outputs: Any) -> Any:
    """The variance of outputs [n, ...] over n, the mean over their positions; 1 if they are one."""
    variance = ops.mean(ops.var(outputs, axis=0))
    return ops.where(variance > keras.config.epsilon(), variance, 1.0)


def output_distance(teacher: Any, student: Any, variances: Sequence[float] | None = None) -> Any:
    """How far outputs are from a teacher's, where these are no class scores.

    The mean over the outputs of |o - o'|^2 / |o' - mean o'|^2, o' being the teacher's, with sums
    over the batch and all positions: 0 is the same, 1 as far as always answering the mean.

    Args:
        teacher: Structure of tensors [n, ...].
        student: Structure of tensors [n, ...].
        variances: The variance of each output, of more examples than a batch, which may hold one
            alone. Defaults to that of `teacher`.

    Returns:
        A number.
    """
    wanted, found = keras.tree.flatten(teacher), keras.tree.flatten(student)
    if variances is None:
        variances = [variance_of(output) for output in wanted]
    shares = [
        ops.mean(ops.square(ours - theirs)) / by
        for ours, theirs, by in zip(found, wanted, variances, strict=True)
    ]
    return sum(shares) / len(shares)
