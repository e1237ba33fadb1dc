"""Pruning from scratch: one set of weights, trained at many widths at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrcp.graph.inheritance import check_channels
from tfrcp.graph.trace import trace
from tfrcp.scoring.losses import ends_in_softmax
from tfrcp.scoring.objectives import loss_name
from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.sampling import RandomSampler
from tfrcp.space.space import SearchSpace
from tfrcp.training.distillation import Imitation, output_distance
from tfrcp.training.widths import Widths, check_supernet

_DRAWS = 4096
_ALL = Budget(1.0, tolerance=1 - 1e-9)


class Supernet(keras.Model):
    r"""A model that learns to work at every width of a search space, with shared weights.

    Each step of `fit` trains the *sandwich* on one batch: the model as it is, its narrowest form
    and some random ones, all of which keep the first channels of every group. Yu and Huang,
    "Universally Slimmable Networks and Improved Training Techniques", ICCV 2019, where the groups
    had one ratio in common. Here the widths are those of a search: vectors from
    `tfrcp.search.RandomSampler`, a table of which is drawn at the start and gone through step by
    step, so that the widths of a step follow from the seed and the number of the step alone.

    The widths are tensors in one compiled graph, in which a narrow network costs what its own
    MACs cost. The gradients of all widths are averaged (not added, as in that paper), so
    that learning rate and regularization mean what they mean for the model alone.

    Batch norm normalizes by the statistics of the batch at each width. Moving statistics are kept
    for the whole model only; a search re-estimates those of every candidate anyway.

    `call`, `evaluate` and `predict` are the whole model's. Afterwards `model` is a plain trained
    model, and the search over it is that over any other, by index or by any criterion:

        supernet = tfrcp.Supernet(model, space)
        supernet.compile("sgd", loss, metrics=["accuracy"])
        supernet.fit(train)
        tuner = tfrcp.RandomChannelSearch(
            supernet.model, criterion="index", reconstruction="batch_norm"
        )

    What is logged: `loss`, the mean over the widths; the compiled metrics, of the whole model; and
    for each of `largest`, `smallest` and `random` its `_loss` and, where it is compiled with a
    categorical cross-entropy and has one output [batch, classes], its `_accuracy`. Save `model`;
    this class holds nothing else worth keeping.

    Args:
        model: A built Functional or Sequential `keras.Model`; its variables are trained. For widths
            above those of a network build that with the largest ones.
        space: The `tfrcp.SearchSpace` of the model, whose largest widths must be the model's.
            Defaults to one with its defaults.
        budget: `tfrcp.Budget` that the random widths meet; `None` for all widths of the space,
            uniformly.
        random_widths: Number of random widths in a step.
        distillation: Share in [0, 1] of the narrower widths' loss that imitates the predictions
            of the whole model on the same batch: by the divergence of class scores where accuracies
            are logged, else by `tfrcp.training.distillation.output_distance`.
        temperature: By which the logits are divided for that; see `tfrcp.training.loop`.
        seed: Int of the random widths; 0 is a seed.
        name: Name of the model. Defaults to the model's, preceded by "supernet_".

    Attributes:
        model: The model.
        graph: Its trace.
        space: The space.

    Raises:
        ValueError: If an argument is wrong, or the model cannot run at several widths.
    """

    def __init__(
        self,
        model: keras.Model,
        space: SearchSpace | None = None,
        *,
        budget: Budget | None = None,
        random_widths: int = 2,
        distillation: float = 0.0,
        temperature: float = 1.0,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        graph = trace(model)
        space = space or SearchSpace(graph)
        check_supernet(graph, space, random_widths, distillation, temperature)
        classifier = _has_class_scores(model)
        super().__init__(name=name or f"supernet_{model.name}", dtype=model.dtype_policy)
        self.model, self.graph, self.space = model, graph, space
        if hasattr(model, "output_names"):  # by which losses may be given
            self.output_names = list(model.output_names)
        self._widths = Widths(graph, model)
        sampler = RandomSampler(space, CostModel(graph), budget or _ALL, seed)
        # In the first row the smallest, in the others random ones.
        self._table = np.stack([space.smallest, *sampler.suggest_up_to(random_widths and _DRAWS)])
        self._sizes = self._widths.sizes(self._table)
        self._random_widths = random_widths
        self._imitation = Imitation(temperature, ends_in_softmax(model))
        self._share = float(distillation)
        self._step = self.add_weight(
            name="step",
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        roles = ["largest", "smallest"] + ["random"] * bool(random_widths)
        kinds = ["loss"] + ["accuracy"] * classifier
        self._means = {
            f"{role}_{kind}": keras.metrics.Mean(name=f"{role}_{kind}")
            for role in roles
            for kind in kinds
        }
        self._has_classes = classifier
        self.supports_jit = False  # XLA knows no sizes that come with the data.
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The outputs of the whole model."""
        return self.model(inputs, training=training)

    def call_at(self, inputs: Any, channels: Any, *, training: bool = False) -> Any:
        """The outputs at a width.

        Args:
            inputs: Structure of arrays or tensors like the model's inputs.
            channels: int array [prunable groups]; every group keeps its first channels.
            training: Whether batch norms normalize by the statistics of these inputs at this width;
                else by the moving ones of the whole model, which fit no other width.

        Returns:
            Structure of tensors like the model's outputs.

        Raises:
            ValueError: If the channels are not those of a width of the model.
        """
        counts = check_channels(self.graph, channels)
        sizes = {
            key: {name: array[0] for name, array in entry.items()}
            for key, entry in self._widths.sizes(counts[None]).items()
        }
        return self._widths.run(inputs, tf.constant(counts, "int32"), sizes, training=training)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Trains the sandwich on one batch, one width after the other, then takes one step."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            whole = self(x, training=True)
            loss, total, scaled = self._three_losses(x, y, whole, sample_weight)
        gradients = _dense(tape, scaled, variables)
        self._log("largest", loss, y, whole)

        def narrow(row: Any) -> tuple[Any, ...]:
            with tf.GradientTape() as tape:
                outputs = self._run_row(x, row)
                of_labels, loss, scaled = self._three_losses(x, y, outputs, sample_weight, whole)
            return outputs, of_labels, loss, _dense(tape, scaled, variables)

        if tf.distribute.get_strategy().num_replicas_in_sync == 1:
            # Traced once for all rows. Synchronized batch norm does not work in such a function.
            narrow = tf.function(narrow, autograph=False)
        for role, row in self._rows():
            # In turn, so that the activations of no more than one width are held at a time.
            with tf.control_dependencies([tf.group(*gradients)]):
                outputs, of_labels, loss, new = narrow(row)
            gradients = [a + b for a, b in zip(gradients, new, strict=True)]
            total += loss
            self._log(role, of_labels, y, outputs)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self._step.assign_add(1)
        mean = next(metric for metric in self.metrics if metric.name == "loss")
        mean.update_state(_of_all_devices(total), tf.shape(_leaf(x))[0])
        return self.compute_metrics(x, y, whole, sample_weight)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Scores the whole model."""
        logs = super().test_step(data)
        return {name: value for name, value in logs.items() if name not in self._means}

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Results of the compiled metrics and of the means over a kind of width."""
        logs = super().compute_metrics(x, y, y_pred, sample_weight)
        if self.is_classifier:
            return logs
        unused = {f"{role}_accuracy" for role in ("largest", "smallest", "random")}
        return {name: v for name, v in logs.items() if name not in unused & set(self._means)}

    @property
    def is_classifier(self) -> bool:
        """Whether it is compiled with a categorical cross-entropy of one output's class scores."""
        return self._has_classes and "categorical" in loss_name(self)

    def _rows(self) -> Iterator[tuple[str, Any]]:
        """The roles of the narrow widths in this step, and their rows of the table."""
        yield "smallest", tf.constant(0, "int64")
        for index in range(self._random_widths):
            number = self._step.value * self._random_widths + index
            yield "random", 1 + tf.math.floormod(number, len(self._table) - 1)

    def _three_losses(
        self, x: Any, y: Any, outputs: Any, weight: Any, whole: Any = None
    ) -> list[Any]:
        """The loss of the labels; that to be minimised, of this width's share; and it scaled."""
        of_labels = loss = self.compute_loss(x, y, outputs, weight, training=True)
        if whole is not None and self._share:
            whole = keras.tree.map_structure(tf.stop_gradient, whole)
            if self.is_classifier:
                imitation = self._imitation(whole, outputs, weight)
            else:
                imitation = output_distance(whole, outputs)
            loss = (1 - self._share) * loss + self._share * imitation
        loss = loss / (2 + self._random_widths)
        return [of_labels, loss, self.optimizer.scale_loss(loss)]

    def _run_row(self, x: Any, row: Any) -> Any:
        """The outputs in training at the widths of a row of the table."""
        channels = tf.gather(tf.constant(self._table, "int32"), row)
        sizes = {
            key: {name: tf.gather(tf.constant(array), row) for name, array in entry.items()}
            for key, entry in self._sizes.items()
        }
        return self._widths.run(x, channels, sizes, training=True)

    def _log(self, role: str, loss: Any, y: Any, outputs: Any) -> None:
        self._means[f"{role}_loss"].update_state(_of_all_devices(loss), tf.shape(_leaf(outputs))[0])
        if self.is_classifier:
            self._means[f"{role}_accuracy"].update_state(_hits(y, outputs))


def _dense(tape: tf.GradientTape, loss: Any, variables: list[Any]) -> list[Any]:
    """Gradients of the variables; 0 where the loss does not depend on one."""
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    return [tf.convert_to_tensor(gradient) for gradient in gradients]


def _of_all_devices(loss: Any) -> Any:
    """A loss as it is to be shown: Keras divides it by the number of devices to train on."""
    return loss * tf.distribute.get_strategy().num_replicas_in_sync


def _leaf(structure: Any) -> Any:
    return keras.tree.flatten(structure)[0]


def _hits(y: Any, outputs: Any) -> Any:
    """1.0 where the largest output is the label's, [batch]; labels [batch], [batch, 1], one-hot."""
    outputs = _leaf(outputs)
    if y.shape.rank == 2 and y.shape[1] == outputs.shape[1]:
        y = tf.argmax(y, axis=-1)
    return tf.cast(tf.argmax(outputs, axis=-1) == tf.cast(tf.reshape(y, [-1]), "int64"), "float32")


def _has_class_scores(model: keras.Model) -> bool:
    """Whether a model has one output [batch, classes]."""
    shape = tuple(model.outputs[0].shape)
    return len(model.outputs) == 1 and len(shape) == 2 and shape[1] > 1
