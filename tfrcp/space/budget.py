"""What a pruned network may cost."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfrcp.arguments import check_number

_TARGETS = ("flops", "latency", "params", "activations")  # the first that is given is met


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a pruned network may cost.

    One cost is the target and is met within the tolerance: the MACs if they are given,
    else the latency, the weights or the activations, the first of these that is. The others that
    are given are upper bounds; those that are not are free. A target of weights or activations is
    an upper bound as well: it is met from below.

    Attributes:
        flops: Target of the MACs: a float in (0, 1] is a share of the unpruned network's,
            an int is absolute. Defaults to 0.5 where nothing else is given.
        params: Number of weights, in the same units: a bound beside `flops` or `latency`, the
            target without.
        tolerance: Float. How far from the target a proposal may be, as a share of the unpruned
            network's cost. Defaults to 0.005.
        activations: Number of elements in the outputs of convolution and dense layers, in the same
            units: a bound, or the target where it stands alone.
        latency: Time per image, a float in (0, 1]: a share of the unpruned network's, as a
            `LatencyModel` predicts it. An upper bound beside `flops`, the target without it.
        costs: Further costs by their names in `tfrcp.space.costs.COSTS`, in the units of `flops`: a
            bound, or the target where it stands alone.

    Raises:
        ValueError: If a number is out of range.
    """

    flops: float | int | None = None
    params: float | int | None = None
    tolerance: float = 0.005
    activations: float | int | None = None
    latency: float | None = None
    costs: Mapping[str, float | int] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.costs, Mapping) or set(self.costs) & set(_TARGETS):
            raise ValueError(
                "`costs` must be a dict from names of costs without an argument of their own to "
                f"numbers. Received: costs={self.costs!r}"
            )
        object.__setattr__(self, "costs", dict(self.costs))
        if not self.bounds:
            object.__setattr__(self, "flops", 0.5)
        if self.latency is not None and not (_is_ratio(self.latency) and 0 < self.latency <= 1):
            raise ValueError(
                "`latency` must be a float in (0, 1], a share of the unpruned network's. "
                f"Received: latency={self.latency!r}"
            )
        for name, value in self.bounds.items():
            if name == "latency":
                continue
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            ratio = _is_ratio(value) and 0 < value <= 1
            if not (ratio or (whole and value > 0)):
                raise ValueError(
                    f"`{name}` must be a float in (0, 1], a share of the unpruned network's, or a "
                    f"positive int, an absolute number. Received: {name}={value!r}"
                )
        check_number("tolerance", self.tolerance, "[0, 1)")

    def __repr__(self) -> str:
        given = {**self.bounds, "tolerance": self.tolerance}
        return f"Budget({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    @property
    def bounds(self) -> dict[str, float | int]:
        """The costs that are given, by name; the first is the target."""
        named = {name: getattr(self, name) for name in _TARGETS}
        return {name: value for name, value in {**named, **self.costs}.items() if value is not None}

    @property
    def target(self) -> str:
        """Name of the cost that is met; all others are bounded at most."""
        return next(iter(self.bounds))

    def get_config(self) -> dict[str, Any]:
        """The arguments, plain values; further costs where there are some."""
        config = dataclasses.asdict(self)
        if not self.costs:
            del config["costs"]
        return config

    def ranges(self, full: Mapping[str, float]) -> dict[str, tuple[float, float]]:
        """Least and largest accepted values of the costs, by name; MACs come first.

        Args:
            full: The unpruned network's costs by name; "latency" may be missing where it is free.

        Raises:
            ValueError: If a cost is not among them.
        """
        unknown = [name for name in self.bounds if name not in full]
        if unknown:
            raise ValueError(
                f"A budget's costs must be among {sorted(full)}. Received: {unknown[0]!r}"
            )
        found = {"flops": self.window(full["flops"])}
        for name in ("params", "activations", "latency", *self.costs):
            if name not in self.bounds:
                continue
            limit = _limit(self.bounds[name], full[name])
            slack = self.tolerance * full[name]
            if name != self.target:
                found[name] = (0, limit)
            elif name == "latency":  # predicted, so that neither side is exact
                found[name] = (limit - slack, limit + slack)
            else:
                found[name] = (max(0, math.ceil(limit - 2 * slack - 1e-6)), limit)
        return found

    def absolute(self, full: Mapping[str, int], other: Mapping[str, int]) -> Budget:
        """The same budget in absolute numbers, for another network to start from.

        Args:
            full: Costs of the network that shares are of, by name.
            other: Costs of the network that is pruned.

        Returns:
            The budget; a bound of the latency stays a share.
        """
        numbers = {k: _limit(v, full[k]) for k, v in self.bounds.items() if k in full}
        costs = {name: numbers.pop(name) for name in self.costs}
        if self.flops is not None:
            low, high = self.window(full["flops"])
            numbers["flops"] = round((low + high) / 2)
        scale = full[self.target] / other[self.target] if self.target in full else 1.0
        tolerance = min(self.tolerance * scale, 0.999)
        return dataclasses.replace(self, **numbers, costs=costs, tolerance=tolerance)

    def window(self, full_flops: int) -> tuple[int, int]:
        """Least and largest MACs that are accepted, given the unpruned network's."""
        if self.flops is None:
            return 0, full_flops
        target = self.flops * full_flops if _is_ratio(self.flops) else self.flops
        slack = self.tolerance * full_flops
        return math.ceil(target - slack - 1e-6), math.floor(target + slack + 1e-6)


def _limit(bound: float | int | None, full: float) -> float | int | None:
    """A bound in absolute numbers, given the unpruned network's cost."""
    if not _is_ratio(bound):
        return bound
    return int(bound * full) if isinstance(full, int | np.integer) else bound * full


def _is_ratio(number: float | int | None) -> bool:
    """Whether a number is a share, not an absolute one."""
    return isinstance(number, float | np.floating)
