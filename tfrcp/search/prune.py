"""One call: search, inherit and repair, without any training."""

from __future__ import annotations

import tempfile
from typing import Any

import keras

from tfrcp.search.repair import best_model
from tfrcp.search.tuner import RandomChannelSearch


def prune(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    validation_data: Any,
    flops: float | int | None = None,
    directory: str | None = None,
    verbose: bool = True,
    **options: Any,
) -> keras.Model:
    """Prunes a trained model: searches, inherits and repairs the weights; trains nothing.

    Args:
        model: A built, trained Functional or Sequential `keras.Model`. It is not changed.
        x: Training data, for calibration: a batched `tf.data.Dataset`, a tuple of arrays (x, y), x
            alone, or a `PyDataset`.
        y: Labels, where `x` is an array.
        validation_data: Labelled holdout data, likewise; disjoint from the training data.
        flops: Target of the multiply-adds: a float in (0, 1] is a share of the unpruned network's,
            an int is absolute. Defaults to 0.5.
        directory: Folder in which the search is kept, so that it can go on after an interruption.
            Defaults to a temporary one.
        verbose: Whether to show progress.
        **options: Further arguments of `RandomChannelSearch`.

    Returns:
        The best candidate, repaired once more (`tfrcp.search.repair`), a plain `keras.Model`.
        Fine-tune it next.

    Raises:
        ValueError: As `RandomChannelSearch` and its `search`.
    """
    with tempfile.TemporaryDirectory() as temporary:
        tuner = RandomChannelSearch(
            model, flops, directory=directory or temporary, project_name="search", **options
        )
        tuner.search(x, y, validation_data=validation_data, verbose=verbose)
        return best_model(tuner, verbose=verbose)[0]
