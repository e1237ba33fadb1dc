"""The loss that criteria look at: the model's own, or a classifier's cross-entropy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.data import check_labels
from tfrcp.models.structure import output_structure
from tfrcp.scoring import losses
from tfrcp.scoring.objectives import has_own_loss

_ONE_AT_A_TIME = threading.Lock()


def gradients_of(tape: Any, loss: Any, sources: Any) -> Any:
    """The gradients of a loss, of one thread at a time.

    Several threads that take eager gradients at once, as workers in one process, have crashed
    TensorFlow.
    """
    with _ONE_AT_A_TIME:
        return tape.gradient(loss, sources)


def slopes_in(outputs: list[Any], loss: Callable[[list[Any]], Any]) -> tuple[Any, list[Any]]:
    """A loss of a network's outputs, and its gradients in them.

    With `along` they go back through the network for some images at a time: the loss may depend on
    all of them together.

    Args:
        outputs: The outputs, tensors.
        loss: Function of them to a number.
    """
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(outputs)
        value = loss(outputs)
    pairs = zip(outputs, gradients_of(tape, value, outputs), strict=True)
    return value, [ops.zeros_like(x) if slope is None else slope for x, slope in pairs]


def along(outputs: list[Any], slopes: list[Any]) -> Any:
    """What has the gradients of the loss, given the outputs of some images and their slopes."""
    pairs = zip(outputs, slopes, strict=True)
    return sum(ops.sum(x * ops.cast(slope, x.dtype)) for x, slope in pairs)


def serialized(loss: Any) -> Any:
    """A Keras loss, its name or `None`, as it stands in a configuration."""
    named = loss is None or isinstance(loss, str | dict)
    return loss if named else keras.losses.serialize(loss)


def loss_of(
    criterion: str, model: keras.Model, loss: Any, y: Any, sample_weight: Any
) -> tuple[Callable[[Any, Any], Any], Any]:
    """The loss as a function of targets and outputs, and the targets as it takes them.

    Args:
        criterion: Its name, for messages.
        model: The model.
        loss: A Keras loss or its name; `None` for the model's own.
        y: Labels, in the structure that the loss takes.
        sample_weight: Weights of the samples, or `None`; looked at by the model's own loss.

    Returns:
        Tuple of the function and the targets.

    Raises:
        ValueError: If the model has no loss and is no classifier, or labels do not fit.
    """
    if loss is None and has_own_loss(model):
        targets = {"y": y} if sample_weight is None else {"y": y, "weight": sample_weight}
        structure = output_structure(model)

        def own(targets: Any, outputs: Any) -> Any:
            outputs = keras.tree.pack_sequence_as(structure, keras.tree.flatten(outputs))
            weight = targets.get("weight")
            return model.compute_loss(None, targets["y"], outputs, weight, training=False)

        return own, targets
    if len(model.outputs) != 1 or keras.tree.is_nested(y):
        raise ValueError(
            f"The criterion '{criterion}' needs a classifier, or a model that is compiled with its "
            f"loss. Received: '{model.name}' with outputs "
            f"{[tuple(x.shape) for x in model.outputs]}; compile it, or take another criterion"
        )
    if loss is not None:
        if y.dtype.kind not in "biuf" or not np.isfinite(y).all():
            raise ValueError(f"Labels must be finite numbers. Received: dtype {y.dtype}")
        return keras.losses.get(loss), y
    check_labels(y, losses.classes(model))
    if y.ndim == 2 and y.shape[1] > 1:
        logits = not losses.ends_in_softmax(model)
        return keras.losses.CategoricalCrossentropy(from_logits=logits), y
    return losses.crossentropy(model), y.reshape(-1)
