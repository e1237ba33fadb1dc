"""Batch-norm statistics that belong to the weights, in trainings that are short.

Moving statistics lag behind the weights: with Keras's momentum of 0.99, after 39 steps they are
still 0.99^39 = 68 % those of before. Re-estimated ("precise batch norm": Wu and Johnson,
"Rethinking 'Batch' in BatchNorm", 2021, arXiv 2105.07576) they are those of the weights that are
scored.
"""

from __future__ import annotations

from typing import Any

import keras

from tfrcp.data import as_arrays
from tfrcp.reconstruction.batch_norm import BatchNormStatistics

LAG = 1e-3
"""Share of the statistics of before training from which on they are re-estimated."""


class RecalibrateBatchNorm(keras.callbacks.Callback):
    """Re-estimates batch-norm statistics before each validation of `fit`, and at its end.

    Batch norms that are not trainable stay as they are. A network without batch norm costs nothing.

    ```python
    recalibrate = tfrcp.RecalibrateBatchNorm(train_ds)
    pruned.fit(train_ds, validation_data=holdout_ds, callbacks=[recalibrate])
    ```

    Args:
        data: Training data: a batched `tf.data.Dataset`, a tuple of arrays (x, y), x alone, or a
            `PyDataset`; labels are not used.
        images: How many images, the first ones.

    Raises:
        ValueError: If the data cannot be used.
    """

    def __init__(self, data: Any, images: int = 1000) -> None:
        super().__init__()
        self._x, _ = as_arrays(data, count=images)
        self._statistics: BatchNormStatistics | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Looks for the batch norms of the model."""
        self._statistics = BatchNormStatistics(self.model, frozen=False)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Re-estimates before a validation of `fit`; an `evaluate` alone changes nothing."""
        if self._statistics is not None:
            self._statistics.estimate(self._x)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Re-estimates at the end."""
        self._statistics.estimate(self._x)
        self._statistics = None
