"""The entries of `metrics.json` as records, for those who write them and those who read them.

What a run has not come to is `None`, and so is a number that is null or not finite. Entries that a
record does not know, such as those of another version, are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self


def number(value: Any) -> float | None:
    """A finite number as it is; `None` for anything else."""
    return value if isinstance(value, int | float) and math.isfinite(value) else None


class Record:
    """A JSON object: `of` reads it, `json` writes it."""

    @classmethod
    def of(cls, entry: Mapping[str, Any] | None) -> Self:
        """The record of an entry, which may be null."""
        found = {}
        for each in fields(cls):
            value = (entry or {}).get(each.name)
            if isinstance(each.default, Record):
                found[each.name] = type(each.default).of(value)
            elif value is not None:
                found[each.name] = number(value) if "float" in each.type else value
        return cls(**found)

    def json(self) -> dict[str, Any]:
        """The entry."""
        return asdict(self)


@dataclass(frozen=True)
class Stage(Record):
    """A stage; `seconds` is `None` until it is complete, `config` what its result depends on."""

    name: str = ""
    seconds: float | None = None
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial(Record):
    """A candidate: score on the holdout images, MACs, weights, whether it was stopped early."""

    id: str = ""
    score: float | None = None
    flops: float | None = None
    params: float | None = None
    stopped: bool = False


@dataclass(frozen=True)
class Figures(Record):
    """A network, or its file: cost per image, bytes on disk, milliseconds per image, and scores.

    In JSON the scores, such as "test_accuracy", stand beside the others.
    """

    flops: float | None = None
    params: float | None = None
    activations: float | None = None
    bytes: float | None = None
    latency_ms: float | None = None
    scores: dict[str, float | None] = field(default_factory=dict)

    @classmethod
    def of(cls, entry: Mapping[str, Any] | None) -> Self:
        """See `Record`."""
        costs = {each.name for each in fields(cls)}
        scores = {name: number(v) for name, v in (entry or {}).items() if name not in costs}
        return replace(super().of({**(entry or {}), "scores": None}), scores=scores)

    def json(self) -> dict[str, Any]:
        """The entry, without what is not known."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return known | known.pop("scores")


@dataclass(frozen=True)
class LatencyRatio(Record):
    """Time after / before, its 95 % interval, and how it was measured."""

    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    batch_size: int | None = None
    device: str | None = None
    runtime: str | None = None

    @property
    def interval(self) -> tuple[float, float, float] | None:
        """Ratio and interval, where all three are known."""
        found = self.ratio, self.low, self.high
        return None if None in found else found


@dataclass(frozen=True)
class Pair(Record):
    """The unpruned and the pruned network, or an exported file of each.

    Of files also what pages call them, the path of the pruned network's, and the largest difference
    of its outputs to the network's.
    """

    before: Figures = Figures()
    after: Figures = Figures()
    latency_ratio: LatencyRatio = LatencyRatio()
    title: str = ""
    path: str = ""
    max_difference: float | None = None

    def json(self) -> dict[str, Any]:
        """See `Record`."""
        return asdict(self) | {"before": self.before.json(), "after": self.after.json()}

    def ratio(self, name: str) -> float | None:
        """After / before of a figure, where both are known."""
        before, after = getattr(self.before, name), getattr(self.after, name)
        return after / before if before and after is not None else None
