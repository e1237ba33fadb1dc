"""The result of pruning in one sentence: time, size and score, each with its error."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tfrcp.units import points, score

Z = 1.96
"""Standard errors on either side of a 95 % interval."""


@dataclasses.dataclass(frozen=True)
class Change:
    """What became of a score.

    Attributes:
        label: What the score is called in prose, such as "accuracy".
        before: Score of the unpruned network; `None` if it is not known.
        after: Score of the pruned one.
        low: Lower end of the 95 % interval of after - before; `None` if it is not known.
        high: Upper end.
        is_share: Whether it is a share of the examples, shown in percent.
    """

    label: str
    before: float | None
    after: float
    low: float | None = None
    high: float | None = None
    is_share: bool = True

    @property
    def has_error(self) -> bool:
        """Whether the interval is known."""
        return self.low is not None and self.high is not None

    @property
    def difference(self) -> float:
        """After less before."""
        return self.after - self.before

    @property
    def is_unchanged(self) -> bool:
        """Whether no change is to be told from chance: the interval holds 0."""
        return self.has_error and self.low <= 0 <= self.high

    def text(self, value: float) -> str:
        """A score as text."""
        return score(value, self.is_share)

    def difference_text(self) -> str:
        """`-0.6 points (-1.4 to +0.2)`; without an error only the first."""
        parts = [self.difference, *((self.low, self.high) if self.has_error else ())]
        if self.is_share:
            first = points(parts[0])
            rest = [f"{100 * part:+.1f}" for part in parts[1:]]
        else:
            first, *rest = (f"{part:+.3g}" for part in parts)
        return f"{first} ({' to '.join(rest)})" if rest else first

    def sentence(self, images: str) -> str:
        """A part of a sentence: `accuracy unchanged within the test set's error`.

        Args:
            images: What it was measured on, such as "test set".
        """
        if self.before is None:
            return f"{self.label} {self.text(self.after)} on the {images}"
        if not self.has_error:
            return (
                f"{self.label} {self.text(self.before)} before and {self.text(self.after)} after "
                f"on the {images}"
            )
        if self.is_unchanged:
            error = f"the {_possessive(images)} error"
            return f"{self.label} unchanged within {error}, {self.difference_text()}"
        word = "higher" if self.difference > 0 else "lower"
        ends = sorted(abs(end) for end in (self.low, self.high))
        if self.is_share:
            amount = f"{100 * abs(self.difference):.1f} points"
            ends_text = [f"{100 * end:.1f}" for end in ends]
        else:
            amount, *ends_text = (f"{part:.3g}" for part in (abs(self.difference), *ends))
        return f"{self.label} {amount} ({' to '.join(ends_text)}) {word} on the {images}"


def paired_interval(before: Any, after: Any) -> tuple[float, float]:
    """95 % interval of the mean of after - before, from the values of the same examples.

    Of values that are 0 or 1, such as right and wrong answers, it is the adjusted Wald interval of
    Agresti and Min (2005), "Simple improved confidence intervals for comparing matched
    proportions": half an example is added to each of the four cells, so that it does not shrink to
    nothing where few examples or none differ. Else it is the mean +- 1.96 standard errors.

    Args:
        before: Float array [n], n at least 2.
        after: Float array [n].
    """
    before, after = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    difference, count = after - before, len(before)
    if np.isin(before, (0, 1)).all() and np.isin(after, (0, 1)).all():
        gained, lost, total = (difference > 0).sum() + 0.5, (difference < 0).sum() + 0.5, count + 2
        center = (gained - lost) / total
        error = np.sqrt(gained + lost - (gained - lost) ** 2 / total) / total
    else:
        center, error = difference.mean(), difference.std(ddof=1) / np.sqrt(count)
    return float(center - Z * error), float(center + Z * error)


def verdict(
    *,
    score: Change | None = None,
    images: str = "test set",
    time: tuple[float, float, float] | None = None,
    place: str = "",
    size: float | None = None,
    macs: float | None = None,
) -> str:
    """One sentence: how much faster and smaller, and what the score lost.

    Args:
        score: What became of the score.
        images: What it was measured on, such as "test set".
        time: Time after / before, and its 95 % interval.
        place: What ran the networks, such as "in LiteRT".
        size: Size after / before.
        macs: MACs after / before; told where no time is known.

    Returns:
        The sentence, empty if nothing is known.
    """
    parts = []
    if time is not None:
        parts.append(" ".join(part for part in (_speed(*time), place) if part))
    elif macs is not None:
        parts.append(_less(macs, "fewer MACs", "more MACs", "as many MACs as before"))
    if size is not None:
        parts.append(_less(size, "smaller", "larger", "as large as before"))
    if score is not None:
        parts.append(score.sentence(images))
    text = ", ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _speed(ratio: float, low: float, high: float) -> str:
    """Time after / before in words: `1.8 times faster (1.7 to 1.9)`."""
    if low <= 1 <= high:
        return f"not measurably faster (takes {ratio:.2f} times as long, {low:.2f} to {high:.2f})"
    if ratio > 1:
        return f"{100 * (ratio - 1):.0f} % slower ({100 * (low - 1):.0f} to {100 * (high - 1):.0f})"
    speeds = 1 / ratio, 1 / high, 1 / low
    if speeds[0] >= 1.5:
        return "{:.1f} times faster ({:.1f} to {:.1f})".format(*speeds)
    return "{:.0f} % faster ({:.0f} to {:.0f})".format(*(100 * (speed - 1) for speed in speeds))


def _less(ratio: float, less: str, more: str, same: str) -> str:
    """A size or count after / before in words: `2.4 times smaller`."""
    if abs(ratio - 1) < 0.005:
        return same
    if ratio > 1:
        return f"{100 * (ratio - 1):.0f} % {more}"
    return (
        f"{1 / ratio:.1f} times {less}" if ratio <= 2 / 3 else f"{100 * (1 - ratio):.0f} % {less}"
    )


def _possessive(name: str) -> str:
    return f"{name}'" if name.endswith("s") else f"{name}'s"
