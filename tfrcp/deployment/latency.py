"""Measures how long models take for an image, so that a comparison means something.

Timed one after the other, models differ by the load of the machine as much as by their own speed.
Here they take turns (A B A B), so that whatever slows the machine down slows all of them;
`ratio` compares run by run. A Keras model is one compiled TensorFlow function; a file is run
by its own runtime.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfrcp.arguments import check_int
from tfrcp.deployment import runtimes
from tfrcp.models.structure import input_structure

Model = Callable[[Any], Any] | str | os.PathLike[str]


@dataclasses.dataclass(frozen=True)
class Latency:
    """The timed runs of one model.

    Attributes:
        runs: milliseconds per image of each run: the time of a batch divided by its size.
        batch_size: images per batch.
        device: the kind of device that gave the outputs, `"CPU"` or `"GPU"`.
        runtime: what ran the model: `"TensorFlow"`, `"LiteRT"` or `"ONNX Runtime"`.
        bytes: size of the file on disk; `None` for a model in memory.
    """

    runs: tuple[float, ...]
    batch_size: int
    device: str
    runtime: str = "TensorFlow"
    bytes: int | None = None

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
            f"batch of {self.batch_size} on {self.device} by {self.runtime}, {len(self.runs)} runs)"
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
    models: Mapping[str, Model],
    x: Any,
    *,
    batch_size: int = 64,
    repeats: int = 30,
    warmup: int = 3,
    threads: int | None = None,
) -> dict[str, Latency]:
    """Times each model on the same batch, the models taking turns.

    A Keras model or function is compiled into one TensorFlow function for this batch. Each model is
    run `warmup` times untimed. A run's time includes bringing the outputs to the host, so that it
    is over when a user has the answer; it includes neither compilation nor loading.

    Args:
        models: a name for each keras.Model (run with `training=False`), function of a batch, or
            path of a SavedModel folder, a `.keras`, `.tflite` or `.onnx` file.
        x: images `[n, ...]` with n >= 1, or a structure of them for models with several inputs;
            for files with several inputs a dict from the inputs' names. The batch is the first
            `batch_size`; fewer images are repeated to fill it.
        batch_size: images per run.
        repeats: timed runs of each model.
        warmup: untimed runs of each model before.
        threads: threads of a single operation; by default what each runtime takes by itself.
            TensorFlow takes another number only before its first operation.

    Returns:
        `Latency` of each model, under its name.

    Raises:
        ValueError: if there is no model, no image, a count is too small, a file is none of these,
            or TensorFlow runs already with another number of threads.
        FileNotFoundError: if a file is missing.
        ImportError: if a file's runtime is not installed.
    """
    check_int("batch_size", batch_size, 1)
    check_int("repeats", repeats, 2)
    check_int("warmup", warmup, 0)
    check_int("threads", 1 if threads is None else threads, 1)
    if not models:
        raise ValueError("`models` must hold at least one model. Received: models={}")
    batch = _fill(x, batch_size)
    runners = {name: _runner(model, batch, threads) for name, model in models.items()}
    runs: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(warmup + repeats):
        for name, runner in runners.items():
            start = time.perf_counter()
            runner(batch)
            elapsed = time.perf_counter() - start
            if turn >= warmup:
                runs[name].append(1000.0 * elapsed / batch_size)
    return {
        name: Latency(
            tuple(runs[name]),
            batch_size,
            runners[name].device,
            runners[name].runtime,
            runtimes.size(model) if _is_path(model) else None,
        )
        for name, model in models.items()
    }


def peak_memory(model: Model, x: Any, *, batch_size: int = 64, threads: int | None = None) -> int:
    """Memory that a model needs at most to be loaded and to run a batch.

    Measured in a new process (Linux) as the growth of its resident memory after the runtime itself
    has been imported. A Keras model is saved and loaded there.

    Args:
        model: a keras.Model, or a path as in `measure`.
        x: images, as in `measure`.
        batch_size: images per run.
        threads: as in `measure`.

    Returns:
        Bytes.

    Raises:
        ValueError: if the model is a function, or cannot be run.
        FileNotFoundError: if a file is missing.
    """
    if not _is_path(model):
        if not isinstance(model, keras.Model):
            raise ValueError(
                "`model` must be a keras.Model or a path: a function cannot be brought into a "
                f"process of its own. Received: model={model!r}"
            )
        with tempfile.TemporaryDirectory() as folder:
            model.save(pathlib.Path(folder, "model.keras"))
            names = [tensor.name for tensor in keras.tree.flatten(input_structure(model))]
            images = dict(zip(names, keras.tree.flatten(x), strict=True))
            path = pathlib.Path(folder, "model.keras")
            return peak_memory(path, images, batch_size=batch_size, threads=threads)
    batch = _fill(x, batch_size)
    if not isinstance(batch, dict):
        batch = {runtimes.load(model).inputs[0]: batch}
    arrays = io.BytesIO()
    np.savez(arrays, **batch)
    command = [sys.executable, "-P", runtimes.__file__, os.fspath(model), str(threads or 0)]
    process = subprocess.run(command, input=arrays.getvalue(), capture_output=True)
    if process.returncode:
        last = process.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ValueError(f"{model} cannot be run in a process of its own: {' '.join(last)}")
    return int(process.stdout.split()[-1])


def _is_path(model: Model) -> bool:
    return isinstance(model, str | os.PathLike)


def _fill(x: Any, batch_size: int) -> Any:
    """A batch of NumPy arrays from any number of images."""
    x = keras.tree.map_structure(np.asarray, x)
    if any(array.ndim == 0 or len(array) == 0 for array in keras.tree.flatten(x)):
        shapes = keras.tree.map_structure(np.shape, x)
        raise ValueError(f"`x` must hold at least one image. Received shape: {shapes}")
    return keras.tree.map_structure(
        lambda array: np.resize(array, (batch_size, *array.shape[1:])), x
    )


def _runner(model: Model, batch: Any, threads: int | None) -> runtimes.Runner:
    if _is_path(model):
        return runtimes.load(model, threads=threads)
    return _Compiled(model, batch, threads)


class _Compiled(runtimes.Runner):
    """A model in memory as one TensorFlow function, traced for the types and shapes of a batch."""

    runtime = "TensorFlow"

    def __init__(self, model: Callable[[Any], Any], batch: Any, threads: int | None) -> None:
        tf = self._tf = runtimes.tensorflow(threads)
        is_model = isinstance(model, keras.Model)
        call = functools.partial(model, training=False) if is_model else model
        # Images are on the device already, and an argument: TensorFlow folds constants away.
        self._batch = keras.tree.map_structure(tf.constant, batch)
        self._function = tf.function(lambda inputs: call(inputs)).get_concrete_function(self._batch)

    def __call__(self, batch: Any) -> list[np.ndarray]:
        outputs = keras.tree.flatten(self._function(self._batch))
        arrays = [output.numpy() for output in outputs]  # waits until the device is done
        self.device = self._tf.DeviceSpec.from_string(outputs[0].device).device_type
        return arrays


def ratio(a: Latency, b: Latency, *, resamples: int = 2000, seed: int = 0) -> Ratio:
    """How long `a` takes compared with `b`: below 1, `a` is faster.

    Args:
        a: one of two models from one call of `measure`: run i of one was timed beside run i of
            the other, so the bootstrap draws pairs of runs.
        b: the other.
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
