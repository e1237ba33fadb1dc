"""Which channel vectors are allowed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfrcp.arguments import check_int
from tfrcp.graph.channels import ChannelGraph
from tfrcp.space.fixing import fits, meant_by


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """Groups whose channel counts are chosen together; mostly a single one.

    Attributes:
        columns: int array [groups of the block], their columns in a channel vector.
        options: int64 array [options, groups of the block], what they may be, ascending.
    """

    columns: np.ndarray
    options: np.ndarray

    @property
    def widest(self) -> int:
        """Index, within the block, of the group with the most channels, which decides for all."""
        return int(self.options[-1].argmax())

    def nearest(self, counts: np.ndarray) -> np.ndarray:
        """The options nearest to wanted counts of the widest group; the lower one of two.

        Args:
            counts: Float array [N].

        Returns:
            int64 array [N, groups of the block].
        """
        known = self.options[:, self.widest]
        return self.options[np.searchsorted((known[1:] + known[:-1]) / 2, counts)]


class SearchSpace:
    """The channel counts that each group may take.

    Ratios and divisors can differ between groups: a dict maps names of groups, or patterns such as
    "stage1*" (as in `fnmatch`), to values; the first one that fits a group counts, and the default
    where none does.

    Args:
        graph: The trace of the model.
        min_ratio: Float in (0, 1], or a dict. The least share of its channels that a group keeps
            (at least one channel). Defaults to 0.1.
        max_ratio: Float in [min_ratio, 1], or a dict. The largest share. Defaults to 1.
        divisor: Int, or a dict. Counts are multiples of it; the full size is always allowed where
            it lies within the ratios. Defaults to 1.
        fixed: What keeps all its channels: groups, layers (objects), or names or patterns of them.
            Of a layer the group of the channels that it gives on is fixed, and so are all layers
            that share it; `(layer, "inputs")`, or "NAME:inputs", means those that it takes.
        tied: Groups that keep the same share of their channels, but for rounding: for each tie a
            name or pattern, or a sequence of them, such as `("stage1*", "stage2*")`. The counts of
            a tie's widest group decide; the others take their nearest allowed counts.
        from_scratch: Whether ratios may be above 1: for networks that are trained from random
            weights, since wider groups have none to inherit.

    Attributes:
        blocks: Tuple of `Block`: which choices are made, independently of each other.
        choices: Tuple of int64 arrays, the allowed counts of each prunable group, ascending.
        smallest: int64 array [prunable groups], the least counts.
        largest: int64 array [prunable groups], the largest counts.
        fixed: Tuple of the names of the groups that `fixed` meant.

    Raises:
        ValueError: If an argument is out of range, a name unknown, or nothing can be pruned.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        min_ratio: float | Mapping[str, float] = 0.1,
        max_ratio: float | Mapping[str, float] = 1.0,
        divisor: int | Mapping[str, int] = 1,
        fixed: Sequence[Any] = (),
        *,
        tied: Sequence[str | Sequence[str]] = (),
        from_scratch: bool = False,
    ) -> None:
        if isinstance(fixed, str) or not isinstance(fixed, Iterable):
            raise ValueError(
                "`fixed` must be a sequence of groups, layers, names or patterns. "
                f"Received: fixed={fixed!r}"
            )
        if isinstance(tied, str) or not isinstance(tied, Iterable):
            raise ValueError(
                "`tied` must be a sequence of patterns, or of sequences of them, one for each tie. "
                f"Received: tied={tied!r}"
            )
        lows, highs, divisors = (
            _by_group(graph, value, default)
            for value, default in ((min_ratio, 0.1), (max_ratio, 1.0), (divisor, 1))
        )
        for low, high in zip(lows, highs, strict=True):
            _check_ratios(low, high, from_scratch)
        for number in divisors:
            check_int("divisor", number, 1)
        if not graph.prunable:
            raise ValueError(
                f"No channel of '{graph.name}' can be pruned. `print(graph.explain())` says why."
            )
        self.graph = graph
        self._divisors = [int(number) for number in divisors]
        still = {column for entry in fixed for column in meant_by(graph, entry)}
        self.fixed = tuple(graph.prunable[column].name for column in sorted(still))
        allowed = [
            np.array([group.size])
            if column in still
            else _choices(group.name, group.size, lows[column], highs[column], divisors[column])
            for column, group in enumerate(graph.prunable)
        ]
        self.blocks = tuple(
            _block(graph, allowed, columns) for columns in _ties(graph, tied, still)
        )
        choices = {
            int(column): np.unique(block.options[:, i])
            for block in self.blocks
            for i, column in enumerate(block.columns)
        }
        self.choices = tuple(choices[column] for column in range(len(graph.prunable)))
        self.smallest = np.array([choice[0] for choice in self.choices])
        self.largest = np.array([choice[-1] for choice in self.choices])

    @property
    def size(self) -> int:
        """Number of channel vectors, whatever they cost."""
        return math.prod(len(block.options) for block in self.blocks)

    @property
    def centroid(self) -> np.ndarray:
        """The middle one of every group's counts, int64 array [prunable groups]."""
        vector = np.empty(len(self.choices), dtype="int64")
        for block in self.blocks:
            vector[block.columns] = block.options[len(block.options) // 2]
        return vector

    def summary(self, cost: Any) -> str:
        """What the smallest, the middle and the largest vector cost; text for a terminal.

        Args:
            cost: `tfrcp.CostModel` of the same graph.
        """
        costs = cost(np.stack([self.smallest, self.centroid, self.largest, self.graph.full]))
        lines = [f"{'per image':14}{'smallest':>18}{'middle':>18}{'largest':>18}{'unpruned':>18}"]
        for name, numbers in costs._asdict().items():
            lines.append(f"{cost.units[name]:14}" + "".join(f"{int(n):18,}" for n in numbers))
            shares = "".join(f"{n / numbers[-1]:18.3f}" for n in numbers)
            lines.append(f"{'  share':14}" + shares)
        return "\n".join(lines)

    def get_config(self) -> dict[str, dict[str, int]]:
        """Maps the name of each prunable group to what it may be, in plain numbers."""
        tie_of = {int(c): b for b, block in enumerate(self.blocks) for c in block.columns}
        return {
            group.name: {
                "channels": group.size,
                "least": int(choice[0]),
                "most": int(choice[-1]),
                "divisor": divisor,
                "block": tie_of[column],
            }
            for column, (group, choice, divisor) in enumerate(
                zip(self.graph.prunable, self.choices, self._divisors, strict=True)
            )
        }


def _columns(graph: ChannelGraph, pattern: str) -> list[int]:
    """Columns of the prunable groups that a name or pattern fits."""
    names = [group.name for group in graph.prunable]
    found = [i for i, name in enumerate(names) if isinstance(pattern, str) and fits(name, pattern)]
    return found or [graph.column(pattern)]  # whose error lists the names


def _by_group(graph: ChannelGraph, value: Any, default: Any) -> list[Any]:
    """The value of each prunable group."""
    if not isinstance(value, Mapping):
        return [value] * max(len(graph.prunable), 1)
    values: list[Any] = [default] * len(graph.prunable)
    for pattern in reversed(value):
        for column in _columns(graph, pattern):
            values[column] = value[pattern]
    return values


def _check_ratios(low: float, high: float, from_scratch: bool) -> None:
    numbers = all(isinstance(x, int | float | np.number) for x in (low, high))
    if not (numbers and 0 < low <= high and (high <= 1 or from_scratch) and high < math.inf):
        raise ValueError(
            "Ratios must satisfy 0 < min_ratio <= max_ratio <= 1 (above 1 only with "
            f"`from_scratch=True`). Received: min_ratio={low}, max_ratio={high}"
        )


def _ties(
    graph: ChannelGraph, tied: Sequence[str | Sequence[str]], still: set[int]
) -> list[list[int]]:
    """The columns of each block, in the order of their first ones."""
    ties: list[list[int]] = []
    for entry in tied:
        patterns = [entry] if isinstance(entry, str) else list(entry)
        found = {column for pattern in patterns for column in _columns(graph, pattern)}
        twice = found & set(sum(ties, []))
        if twice:
            raise ValueError(
                f"Group '{graph.prunable[min(twice)].name}' is in two ties. Received: tied={tied!r}"
            )
        ties.append(sorted(found - still))
    taken = set(sum(ties, []))
    ties += [[column] for column in range(len(graph.prunable)) if column not in taken]
    return sorted(columns for columns in ties if columns)


def _block(graph: ChannelGraph, allowed: Sequence[np.ndarray], columns: list[int]) -> Block:
    """The options of groups that keep the same share of their channels."""
    sizes = graph.full[columns]
    leader = int(sizes.argmax())
    ratios = allowed[columns[leader]] / sizes[leader]
    options = np.empty((len(ratios), len(columns)), dtype="int64")
    for i, column in enumerate(columns):
        counts, wanted = allowed[column], ratios * sizes[i]
        upper = np.searchsorted(counts, wanted).clip(max=len(counts) - 1)
        lower = (upper - 1).clip(min=0)
        nearer = wanted - counts[lower] <= counts[upper] - wanted  # the lower one of two
        options[:, i] = counts[np.where(nearer, lower, upper)]
    return Block(np.array(columns), options)


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
