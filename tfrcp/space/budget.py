"""What a pruned network may cost."""

from __future__ import annotations

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a pruned network may cost.

    The multiply-adds are met, within the tolerance; all else is bounded from above. Where only
    `latency` is given it is met instead, and the multiply-adds are free.

    Attributes:
        flops: Target of the multiply-adds: a float in (0, 1] is a share of the unpruned network's,
            an int is absolute. Defaults to 0.5, with `latency` to `None`.
        params: Upper bound of the number of weights, in the same units; `None` for no bound.
        tolerance: Float. How far from the target, as a share of the unpruned network's
            multiply-adds (or latency), a proposal may be. Defaults to 0.005.
        activations: Upper bound of the number of elements in the outputs of convolution and dense
            layers, in the same units; `None` for no bound.
        latency: Time per image, a float in (0, 1]: a share of the unpruned network's, as a
            `LatencyModel` predicts it. An upper bound beside `flops`, the target without it.

    Raises:
        ValueError: If a number is out of range.
    """

    flops: float | int | None = None
    params: float | int | None = None
    tolerance: float = 0.005
    activations: float | int | None = None
    latency: float | None = None

    def __post_init__(self) -> None:
        if self.flops is None and self.latency is None:
            object.__setattr__(self, "flops", 0.5)
        if self.latency is not None and not (_is_ratio(self.latency) and 0 < self.latency <= 1):
            raise ValueError(
                "`latency` must be a float in (0, 1], a share of the unpruned network's. "
                f"Received: latency={self.latency!r}"
            )
        for name in ("flops", "params", "activations"):
            value = getattr(self, name)
            if value is None:
                continue
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            ratio = _is_ratio(value) and 0 < value <= 1
            if not (ratio or (whole and value > 0)):
                raise ValueError(
                    f"`{name}` must be a float in (0, 1], a share of the unpruned network's, or a "
                    f"positive int, an absolute number. Received: {name}={value!r}"
                )
        if not isinstance(self.tolerance, int | float) or not 0 <= self.tolerance < 1:
            raise ValueError(f"`tolerance` must be in [0, 1). Received: tolerance={self.tolerance}")

    def window(self, full_flops: int) -> tuple[int, int]:
        """Least and largest multiply-adds that are accepted, given the unpruned network's."""
        if self.flops is None:
            return 0, full_flops
        target = self.flops * full_flops if _is_ratio(self.flops) else self.flops
        slack = self.tolerance * full_flops
        return math.ceil(target - slack - 1e-6), math.floor(target + slack + 1e-6)

    def latency_window(self, full_latency: float) -> tuple[float, float] | None:
        """Least and largest time that is accepted, given the unpruned network's; `None` if any."""
        if self.latency is None:
            return None
        if self.flops is not None:
            return 0.0, self.latency * full_latency
        low, high = self.latency - self.tolerance, self.latency + self.tolerance
        return low * full_latency, high * full_latency

    def params_limit(self, full_params: int) -> int | None:
        """The largest number of weights that is accepted, given the unpruned network's."""
        return _limit(self.params, full_params)

    def activations_limit(self, full_activations: int) -> int | None:
        """The largest number of activations that is accepted, given the unpruned network's."""
        return _limit(self.activations, full_activations)


def _limit(bound: float | int | None, full: int) -> int | None:
    return int(bound * full) if _is_ratio(bound) else bound


def _is_ratio(number: float | int | None) -> bool:
    """Whether a number is a share, not an absolute one."""
    return isinstance(number, float | np.floating)
