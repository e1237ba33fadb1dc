"""The formats: how each is written, and how an earlier export in it is recognised.

Each is written by Keras's own `model.export` through the official converters, whose many ways to
fail become one line.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfrcp.deployment import runtimes
from tfrcp.deployment.runtimes import Runner, need


class Format:
    """A format.

    Attributes:
        title: What messages call it.
        suffix: What names of files must end with; empty for a folder.
        quantizations: The values of `quantization` that it knows.
    """

    title = ""
    suffix = ""
    quantizations: tuple[str | None, ...] = (None,)

    def check(self) -> None:
        """Raises ImportError if a package is missing, with the command that installs it."""

    def write(self, model: keras.Model, path: Path, quantization: Any, calibration: Any) -> None:
        """Writes the model.

        Args:
            model: The model.
            path: Where to; nothing is there.
            quantization: One of `quantizations`.
            calibration: For "int8" a dict from the name of each input to its images `[n, ...]`.

        Raises:
            ValueError: If the model cannot be converted.
        """
        raise NotImplementedError

    def made(self, path: Path) -> bool:
        """Whether something of this format stands at a path."""
        raise NotImplementedError

    def load(self, path: Path) -> Runner:
        """What runs a file of this format, to compare its outputs with the model's."""
        return runtimes.load(path)


class _SavedModel(Format):
    title = "SavedModel"

    def write(self, model: keras.Model, path: Path, quantization: Any, calibration: Any) -> None:
        model.export(str(path), format="tf_saved_model", verbose=False)

    def made(self, path: Path) -> bool:
        return (path / "saved_model.pb").is_file()


class _LiteRT(Format):
    title, suffix = "LiteRT", ".tflite"
    quantizations = (None, "float16", "dynamic", "int8")

    def check(self) -> None:
        need("ai_edge_litert.interpreter", "litert")

    def write(self, model: keras.Model, path: Path, quantization: Any, calibration: Any) -> None:
        ops, optimize = tf.lite.OpsSet, [tf.lite.Optimize.DEFAULT]
        # Without TensorFlow's own operations as a way out, which the runtime does not have.
        target: dict[str, Any] = {"supported_ops": [ops.TFLITE_BUILTINS]}
        options: dict[str, Any] = {"target_spec": target}
        if quantization is not None:
            options["optimizations"] = optimize
        if quantization == "float16":
            target["supported_types"] = [tf.float16]
        if quantization == "int8":
            target["supported_ops"] = [ops.TFLITE_BUILTINS_INT8]
            images = len(next(iter(calibration.values())))
            options["representative_dataset"] = lambda: (
                {name: array[i : i + 1] for name, array in calibration.items()}
                for i in range(images)
            )
        model.export(str(path), format="litert", verbose=False, **options)

    def made(self, path: Path) -> bool:
        return path.is_file() and path.read_bytes()[4:8] == b"TFL3"


class _ONNX(Format):
    title, suffix = "ONNX", ".onnx"

    def check(self) -> None:
        for module in ("tf2onnx", "onnx", "onnxruntime"):
            need(module, "onnx")

    def write(self, model: keras.Model, path: Path, quantization: Any, calibration: Any) -> None:
        with _said_by("tf2onnx") as messages:
            model.export(str(path), format="onnx", verbose=False)
        # An operation that it does not know is written down all the same, and only logged.
        unsupported = next((text for text in messages if text.startswith("Unsupported ops")), "")
        if unsupported:
            raise _Unsupported(re.findall(r"'(\w+)'", unsupported))
        _name_outputs(path)

    def made(self, path: Path) -> bool:
        return path.is_file() and path.read_bytes()[:1] == b"\x08"  # ir_version, the first field


FORMATS: dict[str, Format] = {
    "tf_saved_model": _SavedModel(),
    "litert": _LiteRT(),
    "onnx": _ONNX(),
}
"""The formats by name."""


@contextlib.contextmanager
def one_line(format: Format) -> Iterator[None]:
    """Turns whatever a converter raises into one line, and keeps its warnings to itself."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except OSError as error:
        text = f"Cannot write the export: {error.strerror or error}"
        raise OSError(error.errno, text, error.filename) from error
    except ImportError:
        raise
    except Exception as error:  # the converters' own, of many classes
        text = str(error)
        for number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            words = os.strerror(number)
            if words in text:
                raise OSError(number, f"Cannot write the export: {words}") from error
        raise ValueError(
            f"The model cannot be converted to {format.title}: {_reason(error)}"
        ) from error


class _Unsupported(Exception):
    """Operations that a converter does not support, by name."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"its converter does not support the operation {', '.join(names)}")


def _reason(error: Exception) -> str:
    """The point of a converter's error, which may be pages long."""
    text = str(error).strip()
    names = re.findall(r"'(?:tf|tfl)\.(\w+)' op ", text)
    if names:
        return str(_Unsupported(sorted(set(names))))
    return (text.splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def _said_by(package: str) -> Iterator[list[str]]:
    """Collects what a package logs instead of showing it."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger(package)
    before = logger.propagate, logger.handlers[:], logger.level
    logger.propagate, logger.handlers[:] = False, [handler]
    try:
        yield messages
    finally:
        logger.propagate, logger.handlers[:] = before[:2]
        logger.setLevel(before[2])


def _name_outputs(path: Path) -> None:
    """Names the outputs, which tf2onnx calls "Identity:0" and so on, as the other formats do."""
    import onnx

    model = onnx.load(str(path))
    names = {
        value.name: f"output_{number}"
        for number, value in enumerate(model.graph.output)
        if value.name.startswith("Identity")
    }
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(name, name) for name in values]
    for value in model.graph.output:
        value.name = names.get(value.name, value.name)
    for value in [*model.graph.input, *model.graph.output]:
        first = value.type.tensor_type.shape.dim[0]
        if first.dim_param:
            first.dim_param = "batch"
    onnx.save(model, str(path))
