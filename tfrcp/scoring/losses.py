"""The loss of a classifier, told from its outputs. A leaf: knows Keras models and nothing else."""

from __future__ import annotations

import keras
from keras import ops


def crossentropy(model: keras.Model, *, label_smoothing: float = 0.0) -> keras.losses.Loss:
    """Returns the cross-entropy, in nats, of a classifier's outputs and integer labels [batch].

    Args:
        model: Functional or Sequential, with one output [batch, classes]: probabilities if it ends
            in a softmax, else logits.
        label_smoothing: Probability mass in [0, 1) that is spread evenly over the classes.

    Raises:
        ValueError: `model` has another kind of output.
    """
    classes(model)
    from_logits = not ends_in_softmax(model)
    if label_smoothing:
        return _SmoothedCategoricalCrossentropy(label_smoothing, from_logits)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


def classes(model: keras.Model) -> int:
    """Returns the number of classes of a classifier.

    Raises:
        ValueError: `model` has not one output [batch, classes] with two classes or more.
    """
    shape = model.outputs[0].shape
    if len(model.outputs) != 1 or len(shape) != 2 or shape[1] < 2:
        raise ValueError(
            "`model` must have one output [batch, classes] with two classes or more. "
            f"Received: model {model.name!r} with {len(model.outputs)} outputs, the first {shape}"
        )
    return shape[1]


def ends_in_softmax(model: keras.Model) -> bool:
    """Returns whether a Functional or Sequential model's first output is a softmax's."""
    last = model.outputs[0]._keras_history.operation
    if isinstance(last, keras.Model):
        return ends_in_softmax(last)
    is_softmax = type(last).__name__ == "Softmax"  # the layer, or the operation keras.ops.softmax
    return is_softmax or getattr(last, "activation", None) is keras.activations.softmax


class _SmoothedCategoricalCrossentropy(keras.losses.Loss):
    """Cross-entropy of (1 - smoothing) * one_hot(label) + smoothing / classes."""

    def __init__(self, smoothing: float, from_logits: bool):
        super().__init__(name="smoothed_crossentropy")
        self.smoothing = smoothing
        self.from_logits = from_logits

    def call(self, y_true, y_pred):
        """Returns the loss of each example, shape [batch]."""
        of_label = keras.losses.sparse_categorical_crossentropy(
            y_true, y_pred, from_logits=self.from_logits
        )
        of_uniform = keras.losses.categorical_crossentropy(
            ops.ones_like(y_pred) / y_pred.shape[-1], y_pred, from_logits=self.from_logits
        )
        return (1 - self.smoothing) * of_label + self.smoothing * of_uniform
