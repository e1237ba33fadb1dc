"""How wrong a predictor of latency is."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Check:
    """Predicted against measured times of whole networks, as shares of the unpruned one's.

    Attributes:
        predicted: float array [N].
        measured: float array [N].
    """

    predicted: np.ndarray
    measured: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """Relative errors, float array [N]."""
        return self.predicted / self.measured - 1

    def __str__(self) -> str:
        sizes = np.abs(self.errors)
        return (
            f"On {len(sizes)} random networks the predicted time is off by {100 * sizes.mean():.1f}"
            f" % on average and by {100 * sizes.max():.1f} % at most, of the measured time."
        )
