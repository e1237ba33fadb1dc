"""Saved networks: .keras files, read with clear errors."""

from __future__ import annotations

import os
import re
from pathlib import Path

import keras
import numpy as np


def load_keras(path: str | os.PathLike[str], *, compile: bool = False) -> keras.Model:
    """Loads a trained network from a .keras file.

    Args:
        path: The file.
        compile: Whether it is compiled as it was saved, which needs its loss and metrics.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no .keras file, is damaged, needs a layer that is not registered, or
            holds weights that are NaN or infinite.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path}")
    try:
        model = keras.models.load_model(path, compile=compile)
    except Exception as error:  # zipfile's, h5py's, json's and Keras' own
        raise ValueError(f"{path} cannot be loaded as a .keras file: {_reason(error)}") from None
    if not all(np.isfinite(weights).all() for weights in model.get_weights()):
        raise ValueError(f"{path} holds weights that are NaN or infinite")
    return model


def _reason(error: Exception) -> str:
    """The point of an error of Keras, which may be pages long."""
    text = str(error).strip()
    missing = re.search(r"Could not locate (?:class|function) '([^']+)'", text)
    if missing:
        return (
            f"Keras does not know its layer or function '{missing[1]}'. Decorate it with "
            "@keras.saving.register_keras_serializable() and import it first, in the "
            "configuration file for instance"
        )
    return (text.splitlines() or ["it is damaged"])[0]
