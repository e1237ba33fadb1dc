"""Steps of a training for whatever a model is compiled for: any loss, metrics and structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfrcp.data import Batches, as_arrays
from tfrcp.data.batches import as_dataset
from tfrcp.data.rows import take
from tfrcp.graph.compiling import compile_like
from tfrcp.scoring.meters import CompiledMeter
from tfrcp.scoring.objectives import is_classifier, overrides_loss
from tfrcp.training.distillation import distillation, logits, output_distance, variance_of
from tfrcp.training.distribute import copy_variables
from tfrcp.training.loop import Listener, Loop


class CompiledLoop(Loop):
    """Trains and scores a model by its own `compute_loss` and metrics. Arguments as for `Loop`.

    On several devices a step's loss is the mean of theirs, weighted by their examples, which is
    that of the whole batch where the loss is a mean over examples.

    Raises:
        ValueError: If a model whose class has its own `compute_loss` is to train on several
            devices, or in another precision.
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
            if overrides_loss(model):
                raise ValueError(
                    f"{type(model).__name__} has its own `compute_loss`, which can be trained on "
                    "one device in float32 only. Received: "
                    f"{self._strategy.num_replicas_in_sync} devices, {self._recipe.precision}"
                )
            self._owner = self.model
        losses = keras.tree.flatten(model.loss)
        if self._recipe.accumulate > 1 and any(
            getattr(loss, "reduction", None) == "sum" for loss in losses
        ):
            raise ValueError(
                "`accumulate` above 1 needs losses that are means over the examples. Received: "
                f"accumulate={self._recipe.accumulate}, and a loss with reduction='sum'"
            )
        self._is_classifier = is_classifier(model)
        compile_like(self.model, model, optimizer=optimizer)
        self._scored = model  # whose metrics stand outside of the strategy
        self._forward = tf.function(
            lambda x: self._cast(self.model(x, training=False)), autograph=False
        )

    def prepare(self, batches: tf.data.Dataset | Batches) -> None:
        """Also makes what losses count by, and measures how far a teacher's outputs vary."""
        super().prepare(batches)
        dataset = as_dataset(batches)
        if self._strategy.num_replicas_in_sync > 1:
            first = take(next(iter(dataset)), slice(1))
            x, y, weight = keras.utils.unpack_x_y_sample_weight(first)
            values = [(v, tf.convert_to_tensor(v.value)) for v in self.model.variables]
            # Variables cannot be made within a step on several devices.
            with self._strategy.scope(), keras.StatelessScope(state_mapping=values):
                outputs = self._cast(self.model(x, training=False))
                self.model.compute_loss(x, y, outputs, weight, training=False)
        if self._teacher is not None and not self._is_classifier:
            images, _ = as_arrays(dataset, count=self._recipe.batch_norm_images or 1000)
            outputs = keras.tree.flatten(self._cast(self._teacher(images, training=False)))
            self._variances = [float(variance_of(output)) for output in outputs]

    def evaluate(self, batches: tf.data.Dataset | Batches, listener: Listener) -> dict[str, float]:
        """Scores the weights that are kept by the model's own loss and metrics.

        Every worker takes all batches.
        """
        trained = [variable.numpy() for variable in self.model.variables]
        self._assign(self.kept_weights())
        if self._owner is self.model:  # penalties are those of the weights of what is scored
            copy_variables(self.model, self._scored)
        meter, masked = CompiledMeter(self._scored, "all"), False
        dataset = as_dataset(batches)
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
        several, share = self._strategy.num_replicas_in_sync, self._recipe.distillation

        def loss_of(piece: slice, is_real: Any) -> tuple[Any, tf.Tensor]:
            count = tf.reduce_sum(weight[piece]) * is_real
            # A replica without an example takes one that counts for nothing.
            own = slice(0, tf.maximum(tf.cast(count, "int32"), 1)) if several > 1 else slice(None)
            cut = lambda tree: take(take(tree, piece), own)  # noqa: E731
            outputs = self._cast(self.model(take(x, piece), training=True))
            if several > 1:
                outputs = keras.tree.map_structure(lambda t: _masked(t[own], t, own), outputs)
            weights = cut(sample_weight)
            loss = self._owner.compute_loss(cut(x), cut(y), outputs, weights, training=True)
            # Keras divides by the number of devices; here their examples say what they weigh.
            loss = tf.cast(loss, "float32") * several
            if self._teacher is not None:
                taught = self._cast(self._teacher(cut(x), training=False))
                loss = (1 - share) * loss + share * self._distance(taught, outputs)
            return loss * count / total, tf.stack([loss * count, tf.zeros(()), count])

        return self._step(tf.shape(weight)[0], loss_of)

    def _distance(self, taught: Any, outputs: Any) -> Any:
        """How far outputs are from a teacher's; class scores as `Loop` has it."""
        if not self._is_classifier:
            return output_distance(taught, outputs, self._variances)
        (taught,), (outputs,) = keras.tree.flatten(taught), keras.tree.flatten(outputs)
        of_teacher, of_student = logits(self._teacher, taught), logits(self.model, outputs)
        return ops.mean(distillation(of_teacher, of_student, self._recipe.temperature))

    @staticmethod
    def _cast(outputs: Any) -> Any:
        """Outputs of half precision in float32, in which losses are computed."""
        half = ("float16", "bfloat16")
        return keras.tree.map_structure(
            lambda leaf: (
                _masked(tf.cast(leaf, "float32"), leaf) if leaf.dtype.name in half else leaf
            ),
            outputs,
        )


def _masked(tensor: Any, source: Any, part: slice = slice(None)) -> Any:
    """A tensor made of another one, with a part of the mask that Keras has given that one."""
    mask = getattr(source, "_keras_mask", None)
    if mask is not None:
        tensor._keras_mask = mask[part]
    return tensor


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
