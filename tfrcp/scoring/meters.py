"""Gathers one figure over batches, by Keras's own rules."""

from __future__ import annotations

import abc
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrcp.data.rows import count_rows


class Meter(abc.ABC):
    """Gathers one figure over batches."""

    @abc.abstractmethod
    def update(self, y: Any, outputs: Any, sample_weight: Any = None, x: Any = None) -> None:
        """Takes one batch, in the structures of the network.

        Args:
            y: Targets [n, ...]; of the agreement, the unpruned network's outputs.
            outputs: The network's outputs [n, ...].
            sample_weight: Sample weights, or `None`.
            x: Inputs; only losses of the user's that look at them need them.
        """

    @abc.abstractmethod
    def result(self) -> float:
        """The figure over all batches so far."""


class MeanMeter(Meter):
    """A mean over examples of values; with sample weights [n] a weighted mean."""

    def __init__(self, values: Callable[[Any, Any], np.ndarray], *, weighted: bool = True) -> None:
        self._values, self._sum, self._weight = values, 0.0, 0.0
        self._weighted = weighted

    def update(self, y: Any, outputs: Any, sample_weight: Any = None, x: Any = None) -> None:
        """Takes one batch; see `Meter.update`."""
        values = self._values(y, outputs)
        if sample_weight is None or not self._weighted:
            sample_weight = np.ones(len(values))
        weight = np.asarray(sample_weight)
        self._sum += float((values * weight.reshape(len(values))).sum())
        self._weight += float(weight.sum())

    def result(self) -> float:
        """The figure over all batches so far."""
        return self._sum / self._weight


class CompiledMeter(Meter):
    """A figure of `model.evaluate`, from the network's public methods.

    As `evaluate` does, batches are taken by a compiled function of an open batch size, in which
    Keras weighs the losses of single outputs differently than outside of one. Outputs with a mask,
    and losses that layers add when they are called, which a compiled function would not be given,
    are taken as they are.
    """

    def __init__(self, model: keras.Model, name: str) -> None:
        self._model, self._name, self._loss, self._count = model, name, 0.0, 0
        self._result: Mapping[str, Any] = {}
        self._built = False

    def update(self, y: Any, outputs: Any, sample_weight: Any = None, x: Any = None) -> None:
        """Takes one batch; see `Meter.update`."""
        parts = tuple(tensors(part) for part in (x, y, outputs, sample_weight))
        if not self._built:
            _step(
                self._model, self._name, *parts
            )  # Keras makes its variables at the first call, outside of functions
            self._model.reset_metrics()
            self._built = True
        masked = any(hasattr(t, "_keras_mask") for t in keras.tree.flatten(parts[2]))
        added = self._name == "loss" and bool(self._model.losses)
        if masked or added or self._model.run_eagerly or keras.backend.backend() != "tensorflow":
            loss = _step(self._model, self._name, *parts)
        else:
            loss = self._compiled_step(parts)
        count = count_rows(outputs)
        self._loss, self._count = self._loss + float(loss) * count, self._count + count

    def _compiled_step(self, parts: tuple[Any, ...]) -> Any:
        try:
            return _compiled_step(self._model, self._name, parts)
        except (TypeError, AttributeError, NotImplementedError):  # no code for compiled functions
            return _step(self._model, self._name, *parts)

    def results(self) -> dict[str, float]:
        """All figures that `evaluate` gives, "loss" first; of a meter that is named "all"."""
        found = {"loss": self._loss / self._count}
        for name, value in self._model.get_metrics_result().items():
            value = np.asarray(keras.ops.convert_to_numpy(value), dtype=float)
            found.setdefault(name, float(value.mean()))
        return found

    def result(self) -> float:
        """The figure over all batches so far."""
        if self._name == "loss":
            return self._loss / self._count
        found = self._model.get_metrics_result()
        if self._name not in found:
            raise ValueError(
                f"The objective 'val_{self._name}' must be among what `model.evaluate` gives. "
                f"Received a model that gives {sorted(set(found) | {'loss'})}"
            )
        value = np.asarray(keras.ops.convert_to_numpy(found[self._name]), dtype=float)
        return float(value.mean())  # F1 scores and the like may be one for each class


def _step(model: keras.Model, name: str, x: Any, y: Any, outputs: Any, sample_weight: Any) -> Any:
    """Takes one batch into the model's metrics, and returns its loss."""
    loss: Any = 0.0
    # Keras divides a loss by it in the scope of a strategy, and `evaluate` multiplies it.
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if name == "loss" or model.loss is not None:
        loss = model.compute_loss(x, y, outputs, sample_weight, training=False) * replicas
    if name != "loss":
        model.compute_metrics(x, y, outputs, sample_weight)
    return loss


_STEPS: weakref.WeakKeyDictionary[keras.Model, tuple[Any, dict[Any, Any]]]
_STEPS = weakref.WeakKeyDictionary()


def _compiled_step(model: keras.Model, name: str, parts: tuple[Any, ...]) -> Any:
    """Runs a step as a function that is compiled once for any batch size."""
    names = ("x", "y", "outputs", "sample_weight")
    given = {name: part for name, part in zip(names, parts, strict=True) if part is not None}
    leaves = keras.tree.flatten(given)
    specs = [tf.TensorSpec((None, *leaf.shape[1:]), leaf.dtype) for leaf in leaves]
    structure = keras.tree.map_structure(lambda _: 0, given)
    key = (name == "loss", repr(specs), repr(structure))
    compiled = getattr(model, "_compile_config", None)  # another one after every `compile`
    if model not in _STEPS or _STEPS[model][0] is not compiled:
        _STEPS[model] = (compiled, {})
    functions = _STEPS[model][1]
    if key not in functions:
        owner = weakref.ref(model)

        def run(*flat: Any) -> Any:
            found = keras.tree.pack_sequence_as(structure, list(flat))
            loss = _step(owner(), name, *(found.get(part) for part in names))
            return keras.ops.convert_to_tensor(loss)

        functions[key] = tf.function(run, input_signature=specs, autograph=False)
    return functions[key](*leaves)


class DistanceMeter(Meter):
    """Gathers the sums behind `Agreement` of outputs that are no class scores."""

    def __init__(self) -> None:
        self._sums: list[np.ndarray] = []  # per output: squared distance, count, sum, squares

    def update(self, y: Any, outputs: Any, sample_weight: Any = None, x: Any = None) -> None:
        """Takes one batch; see `Meter.update`."""
        pairs = zip(keras.tree.flatten(y), keras.tree.flatten(outputs), strict=True)
        for place, (wanted, found) in enumerate(pairs):
            wanted, found = (np.asarray(array, dtype=float) for array in (wanted, found))
            axes = 0  # the mean is over examples, of every position on its own
            sums = (
                np.square(found - wanted).sum(),
                len(wanted),
                wanted.sum(axis=axes),
                np.square(wanted).sum(axis=axes),
            )
            if place == len(self._sums):
                self._sums.append(np.array(sums, dtype=object))
            else:
                self._sums[place] = self._sums[place] + np.array(sums, dtype=object)

    def result(self) -> float:
        """The figure over all batches so far."""
        shares = []
        for distance, count, total, squares in self._sums:
            variation = np.maximum(squares - np.square(total) / count, 0).sum()
            shares.append(1 - distance / variation if variation > 0 else float(distance == 0))
        return float(np.mean(shares))


class MetricMeter(Meter):
    """What a metric object says."""

    def __init__(self, metric: keras.metrics.Metric) -> None:
        self._metric = metric
        metric.reset_state()

    def update(self, y: Any, outputs: Any, sample_weight: Any = None, x: Any = None) -> None:
        """Takes one batch; see `Meter.update`."""
        y, outputs = lifted(tensors(y), tensors(outputs))
        self._metric.update_state(y, outputs, tensors(sample_weight))

    def result(self) -> float:
        """The figure over all batches so far."""
        return float(np.asarray(keras.ops.convert_to_numpy(self._metric.result())).mean())


def lifted(y: Any, outputs: Any) -> tuple[Any, Any]:
    """Targets [n] against outputs [n, 1], and the reverse, in the same rank, as Keras has it."""
    if keras.tree.is_nested(y) or keras.tree.is_nested(outputs):
        return y, outputs
    if len(y.shape) == len(outputs.shape) - 1 and outputs.shape[-1] == 1:
        y = keras.ops.expand_dims(y, -1)
    elif len(outputs.shape) == len(y.shape) - 1 and y.shape[-1] == 1:
        outputs = keras.ops.expand_dims(outputs, -1)
    return y, outputs


def tensors(tree: Any) -> Any:
    """A structure of arrays as tensors; `None` stays."""
    if tree is None:
        return None
    convert = lambda leaf: leaf if leaf is None else keras.ops.convert_to_tensor(leaf)  # noqa: E731
    return keras.tree.map_structure(convert, tree)
