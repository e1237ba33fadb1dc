"""Measures how long models take for an image, so that a comparison means something.

One model after the other, timed on its own, measures the weather of the machine as much as the
models. Here each model is one compiled TensorFlow function, and the models take turns (A B A B),
so that whatever slows the machine down hits all alike; `ratio` compares run by run.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np


@dataclasses.dataclass(frozen=True)
class Latency:
    """The timed runs of one model.

    Attributes:
        runs: milliseconds per image of each run: the time of a batch divided by its size.
        batch_size: images per batch.
        device: the kind of device that gave the outputs, `"CPU"` or `"GPU"`.
    """

    runs: tuple[float, ...]
    batch_size: int
    device: str

    @property
    def median(self) -> float:
        """Median over the runs, in milliseconds per image."""
        return float(np.median(self.runs))

    @property
    def spread(self) -> float:
        """Interquartile range over the runs, in milliseconds per image."""
        low, high = np.percentile(self.runs, (25, 75))
        return float(high - low)

    def __str__(self) -> str:
        return (
            f"{self.median:.4g} ms per image (interquartile range {self.spread:.2g} ms, "
            f"batch of {self.batch_size} on {self.device}, {len(self.runs)} runs)"
        )


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A ratio of two median latencies (no unit) with its 95 % interval from `low` to `high`."""

    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.ratio:.2f} (95 % interval {self.low:.2f} to {self.high:.2f})"


def measure(
    models: Mapping[str, Callable[[Any], Any]],
    x: Any,
    *,
    batch_size: int = 64,
    repeats: int = 30,
    warmup: int = 3,
) -> dict[str, Latency]:
    """Times each model on the same batch, the models taking turns.

    Each model is compiled into one TensorFlow function for this batch and run `warmup` times
    untimed. A run's time includes bringing the outputs to the host, so that it is over when a user
    has the answer; it includes neither compilation nor bringing the images to the device.

    Args:
        models: a name for each keras.Model (run with `training=False`) or function of a batch.
        x: images `[n, ...]` with n >= 1, or a structure of them for models with several inputs.
            The batch is the first `batch_size`; fewer images are repeated to fill it.
        batch_size: images per run.
        repeats: timed runs of each model.
        warmup: untimed runs of each model before.

    Returns:
        `Latency` of each model, under its name.

    Raises:
        ValueError: if there is no model, no image, or a count is too small.
    """
    for name, count, least in (
        ("batch_size", batch_size, 1),
        ("repeats", repeats, 2),
        ("warmup", warmup, 0),
    ):
        if count < least:
            raise ValueError(f"`{name}` must be at least {least}. Received: {name}={count}")
    if not models:
        raise ValueError("`models` must hold at least one model. Received: models={}")
    x = keras.tree.map_structure(np.asarray, x)
    if any(array.ndim == 0 or len(array) == 0 for array in keras.tree.flatten(x)):
        shapes = keras.tree.map_structure(np.shape, x)
        raise ValueError(f"`x` must hold at least one image. Received shape: {shapes}")

    import tensorflow as tf

    batch = keras.tree.map_structure(
        lambda array: tf.constant(np.resize(array, (batch_size, *array.shape[1:]))), x
    )
    compiled = {name: _compile(model, batch) for name, model in models.items()}
    runs: dict[str, list[float]] = {name: [] for name in models}
    devices = {}
    for turn in range(warmup + repeats):
        for name, function in compiled.items():
            start = time.perf_counter()
            outputs = keras.tree.flatten(function(batch))
            for output in outputs:
                output.numpy()  # Waits until the device is done.
            elapsed = time.perf_counter() - start
            devices[name] = tf.DeviceSpec.from_string(outputs[0].device).device_type
            if turn >= warmup:
                runs[name].append(1000.0 * elapsed / batch_size)
    return {name: Latency(tuple(runs[name]), batch_size, devices[name]) for name in models}


def _compile(model: Callable[[Any], Any], batch: Any) -> Callable[[Any], Any]:
    """`model` as one TensorFlow function, traced for the types and shapes of `batch`."""
    import tensorflow as tf

    call = functools.partial(model, training=False) if isinstance(model, keras.Model) else model
    # The batch is an argument, not a captured constant: TensorFlow folds constants away.
    return tf.function(lambda inputs: call(inputs)).get_concrete_function(batch)


def ratio(a: Latency, b: Latency, *, resamples: int = 2000, seed: int = 0) -> Ratio:
    """How long `a` takes compared with `b`: below 1, `a` is faster.

    Args:
        a, b: two models from one call of `measure`: run i of one was timed beside run i of the
            other, so the bootstrap draws pairs of runs.
        resamples: number of bootstrap draws.
        seed: seed of the draws; the same seed gives the same interval.

    Returns:
        The ratio of the medians and its percentile bootstrap 95 % interval.

    Raises:
        ValueError: if the two do not come from one measurement.
    """
    if len(a.runs) != len(b.runs) or a.batch_size != b.batch_size:
        raise ValueError(
            "`a` and `b` must come from one call of `measure`. Received: "
            f"{len(a.runs)} runs of {a.batch_size} images and {len(b.runs)} of {b.batch_size}"
        )
    draws = np.random.default_rng(seed).integers(len(a.runs), size=(resamples, len(a.runs)))
    medians = [np.median(np.array(runs)[draws], axis=1) for runs in (a.runs, b.runs)]
    low, high = np.percentile(medians[0] / medians[1], (2.5, 97.5))
    return Ratio(a.median / b.median, float(low), float(high))
