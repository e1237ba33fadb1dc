"""Deployed files run by their own runtimes: what `tfrcp.export` checks and `tfrcp.latency` times.

A folder with `saved_model.pb` is run by TensorFlow, a `.keras` file by Keras, a `.tflite` file by
LiteRT (`ai-edge-litert`) and an `.onnx` file by ONNX Runtime. This file imports nothing but NumPy
until a runtime is asked for. So it can also be run by itself, in a process that holds little else,
to tell how much memory a file needs:

    python -P runtimes.py FILE THREADS < inputs.npz
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfrcp.arguments import check_int


class Runner:
    """A file loaded by its runtime, as a function of a batch.

    Attributes:
        runtime: Name of the runtime.
        device: The kind of device it runs on, `"CPU"` or `"GPU"`.
        inputs: Names of the inputs.
    """

    runtime = ""
    device = "CPU"
    inputs: tuple[str, ...] = ()

    def __call__(self, batch: np.ndarray | Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Runs a batch.

        Args:
            batch: An array `[n, ...]`, or one for every input by name.

        Returns:
            The outputs, in the order of their numbers or names.
        """
        named = isinstance(batch, Mapping)
        if not named and len(self.inputs) > 1:
            raise ValueError(f"Inputs must be given by name, as a dict: {list(self.inputs)}")
        return self.run(dict(batch) if named else {self.inputs[0]: batch})

    def run(self, batch: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Runs arrays by input name."""
        raise NotImplementedError


def load(path: str | os.PathLike[str], *, threads: int | None = None) -> Runner:
    """Loads a file with the runtime that its name or content asks for.

    Args:
        path: A SavedModel folder, a `.keras`, `.tflite` or `.onnx` file.
        threads: Threads of a single operation; the runtime's own choice if `None`.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If the runtime is not installed.
        ValueError: If the file is of no such kind, or the runtime cannot load it.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}")
    if threads is not None:
        check_int("threads", threads, 1)
    kind = _KINDS.get("" if path.is_dir() else path.suffix)
    if kind is None or (path.is_dir() and not (path / "saved_model.pb").is_file()):
        raise ValueError(
            "A model must be a SavedModel folder, a .keras, .tflite or .onnx file. "
            f"Received: {path}"
        )
    return kind(path, threads)


def size(path: str | os.PathLike[str]) -> int:
    """Bytes on disk of a file, or of all the files in a folder."""
    path = Path(path)
    files = [f for f in path.rglob("*") if f.is_file()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def need(module: str, extra: str) -> Any:
    """Imports a module that an extra brings.

    Raises:
        ImportError: If it is missing, with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f'The package of `{module}` is missing: pip install "tfrcp[{extra}]" ({error})'
        ) from None


class _SavedModel(Runner):
    runtime = "TensorFlow"

    def __init__(self, path: Path, threads: int | None) -> None:
        self._tf = tensorflow(threads)
        self._loaded = self._tf.saved_model.load(str(path))  # owns the variables
        signatures = self._loaded.signatures
        if "serving_default" not in signatures:
            raise ValueError(f"{path} has no signature serving_default; it has {list(signatures)}")
        self._function = signatures["serving_default"]
        self._specs = self._function.structured_input_signature[1]
        self.inputs = tuple(self._specs)

    def run(self, batch: dict[str, np.ndarray]) -> list[np.ndarray]:
        outputs = self._function(
            **{k: self._tf.constant(v, self._specs[k].dtype) for k, v in batch.items()}
        )
        device = next(iter(outputs.values())).device
        self.device = self._tf.DeviceSpec.from_string(device).device_type
        return [outputs[name].numpy() for name in _ordered(outputs)]


class _Keras(Runner):
    runtime = "TensorFlow"

    def __init__(self, path: Path, threads: int | None) -> None:
        self._tf = tensorflow(threads)
        import keras

        model = keras.models.load_model(path, compile=False)
        single = isinstance(model, keras.Sequential)
        self._tree, self._structure = keras.tree, model.inputs[0] if single else model.input
        self.inputs = tuple(tensor.name for tensor in keras.tree.flatten(self._structure))
        self._function = self._tf.function(lambda x: model(x, training=False))

    def run(self, batch: dict[str, np.ndarray]) -> list[np.ndarray]:
        batch = self._tree.map_structure(
            lambda t: self._tf.constant(batch[t.name], t.dtype), self._structure
        )
        outputs = self._tree.flatten(self._function(batch))
        self.device = self._tf.DeviceSpec.from_string(outputs[0].device).device_type
        return [output.numpy() for output in outputs]


class _LiteRT(Runner):
    runtime = "LiteRT"

    def __init__(self, path: Path, threads: int | None) -> None:
        litert = need("ai_edge_litert.interpreter", "litert")
        try:
            self._interpreter = litert.Interpreter(str(path), num_threads=threads)
            self._runner = self._interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"LiteRT cannot load {path}: {_line(error)}") from None
        self.inputs = tuple(self._runner.get_input_details())

    def run(self, batch: dict[str, np.ndarray]) -> list[np.ndarray]:
        outputs = self._runner(**batch)
        return [outputs[name] for name in _ordered(outputs)]


class _ONNX(Runner):
    runtime = "ONNX Runtime"

    def __init__(self, path: Path, threads: int | None) -> None:
        runtime = need("onnxruntime", "onnx")
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = threads or 0
        # Threads that go on spinning after a run would slow down whatever takes its turn next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions share no base class
            raise ValueError(f"ONNX Runtime cannot load {path}: {_line(error)}") from None
        self.inputs = tuple(value.name for value in self._session.get_inputs())

    def run(self, batch: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self._session.run(None, batch)


_KINDS = {"": _SavedModel, ".keras": _Keras, ".tflite": _LiteRT, ".onnx": _ONNX}


def tensorflow(threads: int | None) -> Any:
    """TensorFlow with a number of threads.

    Raises:
        ValueError: If it runs already, with another number.
    """
    import tensorflow as tf

    threading = tf.config.threading
    if threads is not None and threading.get_intra_op_parallelism_threads() != threads:
        try:
            threading.set_intra_op_parallelism_threads(threads)
        except RuntimeError:
            raise ValueError(
                "TensorFlow takes another number of threads only before its first operation: "
                f"measure in a new process. Received: threads={threads}"
            ) from None
    return tf


def _ordered(names: Any) -> list[str]:
    """Names of outputs as the model has them: output_2 before output_10, and else by name."""
    return sorted(names, key=lambda name: (len(name) if name.startswith("output_") else 0, name))


def _line(error: Exception) -> str:
    """The first line of a message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _status(field: str) -> int:
    """A field of this process's status, in bytes (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _peak(path: str, batch: dict[str, np.ndarray], threads: int | None) -> int:
    """Bytes by which this process grows at most when it loads a file and runs a batch thrice."""
    suffix = Path(path).suffix
    importlib.import_module(
        {".tflite": "ai_edge_litert.interpreter", ".onnx": "onnxruntime"}.get(suffix, "tensorflow")
    )
    if suffix == ".keras":
        importlib.import_module("keras")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = _status("VmRSS")
    runner = load(path, threads=threads)
    for _ in range(3):
        runner.run(batch)
    return _status("VmHWM") - before


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    arrays = dict(np.load(io.BytesIO(sys.stdin.buffer.read())))
    print(_peak(sys.argv[1], arrays, int(sys.argv[2]) or None))
