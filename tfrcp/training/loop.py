"""Steps of a training, on any strategy: one loop on the public interface of `tf.distribute`.

`keras.Model.fit` cannot train on several workers under Keras 3, and copes with several devices of
one only in part. This loop does the same on one device, on several and on several workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfrcp.data import Batches, as_arrays
from tfrcp.data.batches import as_dataset
from tfrcp.graph.trace import trace
from tfrcp.reconstruction.batch_norm import BatchNormStatistics
from tfrcp.scoring.losses import crossentropy
from tfrcp.training.distillation import distillation, logits
from tfrcp.training.distribute import copy_variables, distribute, share_variables, training_copy
from tfrcp.training.recalibration import LAG
from tfrcp.training.recipe import Recipe
from tfrcp.training.sparsity import Sparsity


class Listener(Protocol):
    """Who is told of the steps of an epoch."""

    def begin(self, step: int) -> None:
        """Called before each step, with its number from 0."""

    def end(self, step: int, means: Callable[[], dict[str, float]]) -> None:
        """Called after each step, with a function that gives the means so far."""


class Loop:
    """Trains and scores a classifier batch by batch.

    Args:
        model: The classifier, [batch, ...] -> [batch, classes].
        recipe: How to train.
        steps: Batches per epoch.
        strategy: Where to train.
        teacher: Unpruned classifier whose outputs are to be imitated too, or `None`.
        fixed: What the recipe's sparsity does not punish.

    Attributes:
        sparsity: The penalty that leaves channels at zero, or `None`.
        model: What is trained: shares its layers with the given model, or is a copy of it.
    """

    def __init__(
        self,
        model: keras.Model,
        recipe: Recipe,
        steps: int,
        strategy: tf.distribute.Strategy,
        teacher: keras.Model | None = None,
        fixed: Iterable[Any] = (),
    ) -> None:
        self._recipe, self._strategy = recipe, strategy
        with strategy.scope():
            self.model = training_copy(model, recipe.precision)
            share_variables(self.model, strategy)
            self._teacher = None if teacher is None else training_copy(teacher, recipe.precision)
            self._compile(model, recipe.optimizer(self.model, steps))
            self.model.optimizer.build(self.model.trainable_variables)
        self.sparsity: Sparsity | None = None
        if recipe.sparsity:
            options = recipe.sparsity, recipe.sparsity_strength
            self.sparsity = Sparsity(*options, trace(model), self.model, fixed)
            self._displacements = recipe.displacements(steps).astype("float32")
        self._steps: dict[Any, Callable[..., Any]] = {}
        self._kept: list[np.ndarray] | None = None
        self._statistics: BatchNormStatistics | None = None
        self._images: Any = None

    def _compile(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Compiles what is trained."""
        smoothing = self._recipe.label_smoothing
        try:
            loss = crossentropy(self.model, label_smoothing=smoothing)
        except ValueError as error:
            raise ValueError(
                f"{error}. Anything else is trained by its own loss: compile it first, such as "
                "`model.compile(loss='mse')`"
            ) from None
        self.model.compile(optimizer=optimizer, loss=loss)
        self._plain_loss = crossentropy(self.model)

    def prepare(self, batches: tf.data.Dataset | Batches) -> None:
        """Takes the images that re-estimate batch norms before weights are scored or kept."""
        if not self._recipe.batch_norm_images:
            return
        statistics = BatchNormStatistics(self.model, frozen=False)
        if statistics.momentum:
            self._images, _ = as_arrays(as_dataset(batches), count=self._recipe.batch_norm_images)
            self._statistics = statistics

    def train(self, batches: tf.data.Dataset | Batches, listener: Listener) -> dict[str, float]:
        """Takes one step for each batch.

        Args:
            batches: Batches (x, y) with integer labels, the same on all workers.
            listener: Is told of every step.

        Returns:
            `loss`, the mean in nats, and `accuracy` in [0, 1] over the batches; with sparsity also
            `sparsity`, the share of what is punished that is zero.
        """
        self._kept = None
        logs = self._run(self._train_step, batches, listener)
        return logs if self.sparsity is None else {**logs, "sparsity": self.sparsity.zeros()}

    def evaluate(self, batches: tf.data.Dataset | Batches, listener: Listener) -> dict[str, float]:
        """Scores the weights that are kept: `loss` is the plain cross-entropy, in nats."""
        trained = [variable.numpy() for variable in self.model.variables]
        self._assign(self.kept_weights())
        scores = self._run(self._test_step, batches, listener)
        self._assign(trained)
        return scores

    def kept_weights(self) -> list[np.ndarray]:
        """Values of the model's variables as they are to be kept.

        Averaged where that is wanted, and with statistics of batch norms that belong to them.
        """
        if self._kept is not None:
            return self._kept
        trained = [variable.numpy() for variable in self.model.variables]
        if self._recipe.ema:
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        if self._statistics is not None:
            lag = self._statistics.momentum ** int(self.model.optimizer.iterations.numpy())
            if self._recipe.ema or lag > LAG:
                self._statistics.estimate(self._images)
        self._kept = [variable.numpy() for variable in self.model.variables]
        self._assign(trained)
        return self._kept

    def finish(self, model: keras.Model, best: list[np.ndarray]) -> None:
        """Brings the weights to be kept, or those of the best epoch, back into the given model."""
        self._assign(best or self.kept_weights())
        if self._strategy.num_replicas_in_sync > 1 or self._recipe.precision != "float32":
            copy_variables(self.model, model)

    def _assign(self, values: list[np.ndarray]) -> None:
        for variable, value in zip(self.model.variables, values, strict=True):
            variable.assign(value)

    def _run(
        self,
        step: Callable[..., Any],
        batches: tf.data.Dataset | Batches,
        listener: Listener,
    ) -> dict[str, float]:
        batches = distribute(batches, self._strategy)
        if step not in self._steps:
            self._steps[step] = self._compiled(step, batches.element_spec)
        sums: list[Any] = []

        def means() -> dict[str, float]:
            if not sums:
                raise ValueError("A data set to train on or to score by holds no batch.")
            loss, correct, count = (float(n) for n in tf.add_n(sums))
            sums[:] = [tf.constant([loss, correct, count], "float64")]
            return {"loss": loss / count, "accuracy": correct / count}

        for index, batch in enumerate(batches):
            listener.begin(index)
            sums.append(self._steps[step](batch))
            listener.end(index, means)
        return means()

    def _compiled(self, step: Callable[..., Any], spec: Any) -> Callable[..., Any]:
        """A step on all replicas, as one function from a batch to sums over its examples."""

        def whole(batch: Any) -> tf.Tensor:
            sums = self._strategy.run(step, args=batch)
            return tf.cast(self._strategy.reduce("SUM", sums, axis=None), "float64")

        def sparse(batch: Any) -> tf.Tensor:
            optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
            penalty, done = self.sparsity.penalty(), tf.identity(optimizer.iterations)
            loss, correct, count = tf.unstack(whole(batch))
            by = tf.gather(self._displacements, tf.minimum(done, len(self._displacements) - 1))
            taken = tf.identity(optimizer.iterations) > done  # half precision may skip a step
            self.sparsity.shrink(tf.where(taken, by, 0.0))
            return tf.stack([loss + tf.cast(penalty, loss.dtype) * count, correct, count])

        if self.sparsity is not None and step == self._train_step:
            return self._traced(sparse, spec)
        return self._traced(whole, spec)

    def _traced(self, whole: Callable[..., Any], spec: Any) -> Callable[..., Any]:
        if self._recipe.jit_compile:
            return tf.function(whole, jit_compile=True, autograph=False)
        return tf.function(whole, input_signature=[spec], autograph=False)

    def _train_step(self, x: Any, y: Any, weight: Any, total: Any) -> tf.Tensor:
        """A step on one replica; returns sums of loss, hits and examples.

        Args:
            x: Images [n, ...].
            y: Labels int [n].
            weight: 1 for an example, 0 for one that only fills up the batch [n].
            total: Number of examples of the batch on all replicas.
        """
        share = self._strategy.num_replicas_in_sync * self._recipe.accumulate

        def loss_of(piece: slice, is_real: Any) -> tuple[Any, tf.Tensor]:
            own = weight[piece] * is_real
            outputs = self._outputs(self.model, x[piece], training=True)
            losses = self._losses(x[piece], y[piece], outputs)
            loss = tf.reduce_sum(losses * own) / total
            penalties = [tf.cast(term, loss.dtype) for term in self.model.losses]
            return loss + sum(penalties) / share, _sums(losses, y[piece], outputs, own)

        return self._step(tf.shape(y)[0], loss_of)

    def _step(self, size: Any, loss_of: Callable[[slice, Any], tuple[Any, tf.Tensor]]) -> tf.Tensor:
        """One step of the optimizer, for the sum of the gradients of all pieces of a batch.

        Args:
            size: Number of examples of the batch.
            loss_of: Function of a piece, and of whether it counts (see `piece_of`), to its loss and
                its sums.

        Returns:
            The sums over all pieces.
        """
        pieces, variables = self._recipe.accumulate, self.model.trainable_variables
        gradients, sums = [], tf.zeros(3)
        for index in range(pieces):
            with tf.control_dependencies([sums]), tf.GradientTape() as tape:
                loss, added = loss_of(*piece_of(size, index, pieces))
                scaled = self.model.optimizer.scale_loss(loss)
            new = tape.gradient(scaled, variables, unconnected_gradients="zero")
            old = gradients or map(tf.zeros_like, new)
            gradients = [a + b for a, b in zip(old, new, strict=True)]
            sums += added
        self.model.optimizer.apply(self._agreed(gradients), variables)
        return sums

    def _agreed(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Gradients for the optimizer, which sums them over the replicas.

        The loss scale of half precision follows from whether they are finite, which the replicas
        must see alike.
        """
        if self._recipe.precision != "mixed_float16" or self._strategy.num_replicas_in_sync == 1:
            return gradients
        return tf.distribute.get_replica_context().all_reduce("MEAN", gradients)

    def _test_step(self, x: Any, y: Any, weight: Any, total: Any) -> tf.Tensor:
        outputs = self._outputs(self.model, x, training=False)
        return _sums(self._plain_loss.call(y, outputs), y, outputs, weight)

    def _losses(self, x: Any, y: Any, outputs: Any) -> tf.Tensor:
        """The loss of each example [n]."""
        of_labels = self.model.loss.call(y, outputs)
        if self._teacher is None:
            return of_labels
        recipe = self._recipe
        taught = self._outputs(self._teacher, x, training=False)
        of_teacher = distillation(
            logits(self._teacher, taught), logits(self.model, outputs), recipe.temperature
        )
        return (1 - recipe.distillation) * of_labels + recipe.distillation * of_teacher

    @staticmethod
    def _outputs(model: keras.Model, x: Any, *, training: bool) -> tf.Tensor:
        return tf.cast(model(x, training=training), "float32")


def piece_of(size: Any, index: int, pieces: int) -> tuple[slice, Any]:
    """One of several pieces of a batch, which are as equal as can be.

    Returns:
        Tuple of the slice, and 1.0; 0.0 where there are fewer examples than pieces and this one is
        lent an example, which counts for nothing, as nothing can be normalized over none.
    """
    start, end = size * index // pieces, size * (index + 1) // pieces
    return slice(start, tf.maximum(end, start + 1)), tf.cast(end > start, "float32")


def _sums(losses: Any, y: Any, outputs: Any, weight: Any) -> tf.Tensor:
    hits = tf.cast(tf.argmax(outputs, axis=-1, output_type=y.dtype) == y, "float32")
    return tf.stack([tf.reduce_sum(part * weight) for part in (losses, hits, tf.ones_like(hits))])
