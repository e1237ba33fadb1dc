"""Steps of a training for whatever a model is compiled for: any loss, metrics and structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfrcp.data import Batches
from tfrcp.graph.compiling import compile_like
from tfrcp.scoring.meters import CompiledMeter
from tfrcp.training.loop import Listener, Loop


class CompiledLoop(Loop):
    """Trains and scores a model by its own `compute_loss` and metrics. Arguments as for `Loop`.

    On several devices a step's loss is the mean of theirs, weighted by their examples, which is
    that of the whole batch where the loss is a mean over examples.

    Raises:
        ValueError: If a model of several outputs is to train on several devices, or one whose class
            has its own `compute_loss` on these or in another precision.
    """

    def _compile(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        self._owner = model
        if self._recipe.label_smoothing:
            raise ValueError(
                "`label_smoothing` is for classifiers of integer labels. This model is trained by "
                "the loss that it is compiled with: smooth the labels there. Received: "
                f"label_smoothing={self._recipe.label_smoothing}"
            )
        several = self._strategy.num_replicas_in_sync > 1 or self._recipe.precision != "float32"
        if several:
            if type(model).compute_loss is not keras.Model.compute_loss:
                raise ValueError(
                    f"{type(model).__name__} has its own `compute_loss`, which can be trained on "
                    "one device in float32 only. Received: "
                    f"{self._strategy.num_replicas_in_sync} devices, {self._recipe.precision}"
                )
            if self._strategy.num_replicas_in_sync > 1 and len(model.outputs) > 1:
                raise ValueError(
                    f"'{model.name}' has {len(model.outputs)} outputs, the means of whose losses "
                    "Keras cannot keep on several devices: train it on one (strategy 'none'). "
                    f"Received: {self._strategy.num_replicas_in_sync} devices"
                )
            self._owner = self.model
        compile_like(self.model, model, optimizer=optimizer)
        self._scored = model  # whose metrics stand outside of the strategy
        self._forward = tf.function(
            lambda x: self._cast(self.model(x, training=False)), autograph=False
        )

    def evaluate(self, batches: tf.data.Dataset | Batches, listener: Listener) -> dict[str, float]:
        """Scores the weights that are kept by the model's own loss and metrics.

        Every worker takes all batches.
        """
        trained = [variable.numpy() for variable in self.model.variables]
        self._assign(self.kept_weights())
        meter, masked = CompiledMeter(self._scored, "all"), False
        dataset = batches.dataset() if isinstance(batches, Batches) else batches
        for index, batch in enumerate(dataset):
            listener.begin(index)
            x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
            if index == 0:  # a compiled function would lose the mask of its outputs
                outputs = self._cast(self.model(x, training=False))
                masked = any(hasattr(t, "_keras_mask") for t in keras.tree.flatten(outputs))
            elif masked:
                outputs = self._cast(self.model(x, training=False))
            else:
                outputs = self._forward(x)
            meter.update(y, outputs, weight, x)
            listener.end(index, meter.results)
        self._assign(trained)
        return meter.results()

    def _train_step(self, *parts: Any) -> tf.Tensor:
        """A step on one replica; returns sums of loss, nothing and examples.

        Args:
            *parts: x, y and perhaps sample weights, structures [n, ...]; weight [n], 0 for examples
                that only fill up the batch; the number of examples of the batch on all replicas.
        """
        *data, weight, total = parts
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(tuple(data))
        pieces, size = self._recipe.accumulate, tf.shape(weight)[0]
        variables, several = self.model.trainable_variables, self._strategy.num_replicas_in_sync
        gradients, sums = [], tf.zeros(3)
        for piece in range(pieces):
            part = slice(size * piece // pieces, size * (piece + 1) // pieces)
            count = tf.reduce_sum(weight[part])
            # A replica without an example takes one that counts for nothing.
            own = slice(0, tf.maximum(tf.cast(count, "int32"), 1)) if several > 1 else slice(None)

            def cut(tree: Any, part: slice = part, own: slice = own) -> Any:
                return keras.tree.map_structure(lambda leaf: leaf[part][own], tree)

            with tf.control_dependencies([sums]), tf.GradientTape() as tape:
                outputs = self._cast(
                    self.model(
                        keras.tree.map_structure(lambda leaf, part=part: leaf[part], x),
                        training=True,
                    )
                )
                if several > 1:  # a mask of the outputs does not outlive this
                    outputs = keras.tree.map_structure(lambda leaf, own=own: leaf[own], outputs)
                weights = None if sample_weight is None else cut(sample_weight)
                targets = None if y is None else cut(y)
                loss = self._owner.compute_loss(cut(x), targets, outputs, weights, training=True)
                # Keras divides losses by the number of devices, whose examples are weighed here.
                loss = tf.cast(loss, "float32") * several
                if self._teacher is not None:
                    taught = self._cast(self._teacher(cut(x), training=False))
                    share = self._recipe.distillation
                    loss = (1 - share) * loss + share * output_distance(taught, outputs)
                scaled = self.model.optimizer.scale_loss(loss * count / total)
            new = tape.gradient(scaled, variables, unconnected_gradients="zero")
            old = gradients or map(tf.zeros_like, new)
            gradients = [a + b for a, b in zip(old, new, strict=True)]
            sums += tf.stack([loss * count, tf.zeros(()), count])
        self.model.optimizer.apply(self._agreed(gradients), variables)
        return sums

    @staticmethod
    def _cast(outputs: Any) -> Any:
        """Outputs of half precision in float32, in which losses are computed."""
        half = ("float16", "bfloat16")
        return keras.tree.map_structure(
            lambda leaf: tf.cast(leaf, "float32") if leaf.dtype.name in half else leaf, outputs
        )


def output_distance(teacher: Any, student: Any) -> Any:
    """How far outputs are from a teacher's, where these are no class scores.

    The mean over the outputs of |o - o'|^2 / |o' - mean o'|^2, o' being the teacher's, with sums
    over the batch and all positions: 0 is the same, 1 as far as always answering the mean.

    Args:
        teacher: Structure of tensors [n, ...].
        student: Structure of tensors [n, ...].

    Returns:
        A number.
    """
    shares = []
    pairs = zip(keras.tree.flatten(teacher), keras.tree.flatten(student), strict=True)
    for wanted, found in pairs:
        spread = ops.mean(ops.var(wanted, axis=0)) + keras.config.epsilon()
        shares.append(ops.mean(ops.square(found - wanted)) / spread)
    return sum(shares) / len(shares)


def figures(model: keras.Model, batches: Sequence[Any] | tf.data.Dataset) -> list[str]:
    """Names of what a compiled model is scored by, "loss" first, from one batch.

    Raises:
        ValueError: If the batch does not fit the model.
    """
    meter = CompiledMeter(model, "all")
    x, y, weight = keras.utils.unpack_x_y_sample_weight(next(iter(batches)))
    try:
        meter.update(y, model(x, training=False), weight, x)
    except Exception as error:  # whatever a loss or metric does with what does not fit it
        shapes = keras.tree.map_structure(lambda a: tuple(np.shape(a)), y)
        raise ValueError(
            f"The data do not fit what '{model.name}' is compiled for: {str(error)[:500]} "
            f"Received: targets {shapes}"
        ) from error
    return list(meter.results())
