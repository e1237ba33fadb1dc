"""Readers of sources that hold arrays.

Each returns the training and the test part, (images, labels) as they are stored, and the number of
classes.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tfrcp import files
from tfrcp.data.arrays import check_finite, check_labels
from tfrcp.data.splits import stratified


def read_digits():
    """Reads scikit-learn's digits: float images in [0, 1], a fifth of every class for the test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images[..., None] / 16).astype(np.float32)
    rest, test = stratified(digits.target, 0.2, seed=0)
    parts = [(images[part], digits.target[part]) for part in (rest, test)]
    return *parts, 10


def read_npz(path: str):
    """Reads x_train, y_train, x_test, y_test and perhaps `classes` from an .npz file."""
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"There is no data file {os.path.abspath(path)}. Make one with "
            "numpy.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)."
        )
    arrays = files.read_npz(Path(path))
    missing = {"x_train", "y_train", "x_test", "y_test"} - arrays.keys()
    if missing:
        raise ValueError(
            f"{path} must hold x_train, y_train, x_test and y_test. Missing: {sorted(missing)}; "
            f"found: {sorted(arrays)}"
        )
    parts = []
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        x = x[..., None] if x.ndim == 3 else x
        if x.ndim != 4 or not len(x) or not (x.dtype == np.uint8 or x.dtype.kind == "f"):
            raise ValueError(
                f"x_{part} in {path} must be images [N, height, width, channels], uint8 or float. "
                f"Received: {x.dtype} of shape {x.shape}"
            )
        if y.dtype.kind not in "iu" or y.shape not in ((len(x),), (len(x), 1)):
            raise ValueError(
                f"y_{part} in {path} must be {len(x)} integer labels, one per image. "
                f"Received: {y.dtype} of shape {y.shape}"
            )
        check_finite([x], f"x_{part} in {path}")
        parts.append((x if x.dtype == np.uint8 else x.astype(np.float32), y.reshape(-1)))
    classes = int(arrays["classes"]) if "classes" in arrays else int(parts[0][1].max()) + 1
    for part, (_, y) in zip(("train", "test"), parts, strict=True):
        try:
            check_labels(y, classes)
        except ValueError as error:
            raise ValueError(f"y_{part} in {path}: {error}") from error
    if parts[0][0].shape[1:] != parts[1][0].shape[1:] or parts[0][0].dtype != parts[1][0].dtype:
        raise ValueError(f"x_train and x_test in {path} must be alike in image shape and dtype.")
    return *parts, classes
