"""Which channel vectors are allowed, and what they may cost."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np

from tfrcp.graph.channels import ChannelGraph


class SearchSpace:
    """The channel counts that each group may take.

    Args:
        graph: The trace of the model.
        min_ratio: Float in (0, 1]. The least share of its channels that a group keeps (at least
            one channel). Defaults to 0.1.
        max_ratio: Float in [min_ratio, 1]. The largest share. Defaults to 1.
        divisor: Int. Counts are multiples of it; the full size is always allowed where `max_ratio`
            is 1. Defaults to 1.
        fixed: Names of groups that keep all their channels.

    Attributes:
        choices: Tuple of int64 arrays, the allowed counts of each prunable group, ascending.
        smallest: int64 array [prunable groups], the least counts.
        largest: int64 array [prunable groups], the largest counts.

    Raises:
        ValueError: If an argument is out of range, a name unknown, or nothing can be pruned.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        min_ratio: float = 0.1,
        max_ratio: float = 1.0,
        divisor: int = 1,
        fixed: Sequence[str] = (),
    ) -> None:
        numbers = all(isinstance(x, int | float | np.number) for x in (min_ratio, max_ratio))
        if not (numbers and 0 < min_ratio <= max_ratio <= 1):
            raise ValueError(
                "Ratios must satisfy 0 < min_ratio <= max_ratio <= 1. "
                f"Received: min_ratio={min_ratio}, max_ratio={max_ratio}"
            )
        if isinstance(divisor, bool) or not isinstance(divisor, int | np.integer) or divisor < 1:
            raise ValueError(f"`divisor` must be a positive int. Received: divisor={divisor}")
        if isinstance(fixed, str) or not isinstance(fixed, Iterable):
            raise ValueError(
                f"`fixed` must be a sequence of group names. Received: fixed={fixed!r}"
            )
        if not graph.prunable:
            raise ValueError(
                f"No channel of '{graph.name}' can be pruned. `print(graph.explain())` says why."
            )
        self.graph = graph
        columns = {graph.column(name) for name in fixed}
        self.choices = tuple(
            np.array([group.size])
            if column in columns
            else _choices(group.name, group.size, min_ratio, max_ratio, int(divisor))
            for column, group in enumerate(graph.prunable)
        )
        self.smallest = np.array([choice[0] for choice in self.choices])
        self.largest = np.array([choice[-1] for choice in self.choices])

    @property
    def size(self) -> int:
        """Number of channel vectors, whatever they cost."""
        return math.prod(len(choice) for choice in self.choices)


def _choices(name: str, size: int, low: float, high: float, divisor: int) -> np.ndarray:
    """Allowed counts of a group, int64 array, ascending."""
    least, most = max(1, math.ceil(low * size - 1e-9)), math.floor(high * size + 1e-9)
    counts = [n for n in range(least, most + 1) if n % divisor == 0 or n == size]
    if not counts:
        raise ValueError(
            f"No multiple of {divisor} lies in [{least}, {most}], the channels that group '{name}' "
            f"of size {size} may keep. Widen the ratios, lower `divisor`, or name the group in "
            "`fixed`."
        )
    return np.array(counts, dtype="int64")


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
        latency: Time per image, a float in (0, 1]: a share of the unpruned network's, as a
            `LatencyModel` predicts it. An upper bound beside `flops`, the target without it.

    Raises:
        ValueError: If a number is out of range.
    """

    flops: float | int | None = None
    params: float | int | None = None
    tolerance: float = 0.005
    latency: float | None = None

    def __post_init__(self) -> None:
        if self.flops is None and self.latency is None:
            object.__setattr__(self, "flops", 0.5)
        if self.latency is not None and not (_is_ratio(self.latency) and 0 < self.latency <= 1):
            raise ValueError(
                "`latency` must be a float in (0, 1], a share of the unpruned network's. "
                f"Received: latency={self.latency!r}"
            )
        for name in ("flops", "params"):
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
        if self.params is None:
            return None
        return int(self.params * full_params) if _is_ratio(self.params) else self.params


def _is_ratio(number: float | int) -> bool:
    """Whether a number is a share, not an absolute one."""
    return isinstance(number, float | np.floating)
