"""What a row's difference from the baseline amounts to, at margins that were fixed beforehand.

Two kinds of claim are tested. "Better" and "worse" are Student's two-sided t test of the paired
differences against 0; "equivalent within m points" is the two one-sided tests (TOST) at the margin
m. Holm's method corrects each kind, at each margin, over the rows that a table was planned with: so
one of its claims of a kind is wrong anywhere in the table with a probability of 0.05 at most.

What neither test decides is "undecided": that no difference is shown does not make two things the
same. A difference may be shown and lie within the margin; then the verdict says both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tfrcp.studies import statistics
from tfrcp.studies.statistics import Mean

LEVEL = 0.05  # of the tests, after Holm's correction


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the tests of a row say.

    Attributes:
        direction: 1 if the row is better than the baseline, -1 if it is worse, 0 if neither is
            shown.
        within: The least margin within which it is equivalent, in percentage points; `None` if
            equivalence is not shown at any.
        p_difference: P-value of the difference, after Holm's correction.
        p_equivalent: P-values of equivalence at each margin, after Holm's correction.
    """

    direction: int
    within: float | None
    p_difference: float
    p_equivalent: tuple[float, ...]

    def __str__(self) -> str:
        parts = [{1: "better", -1: "worse", 0: ""}[self.direction]]
        if self.within is not None:
            parts.append(f"equivalent within {in_words(self.within)}")
        return ", ".join(filter(None, parts)) or "undecided"


def in_words(margin: float) -> str:
    """A margin in words: `1 point`, `0.5 points`."""
    return f"{margin:g} point{'' if margin == 1 else 's'}"


def verdicts(differences: Sequence[Mean | None], margins: Sequence[float]) -> list[Verdict | None]:
    """The verdicts of the rows of a table.

    Args:
        differences: Of all planned rows but the baseline, as fractions (0.01 is one percentage
            point); `None` for a row without a result, which counts in Holm's correction.
        margins: In percentage points.

    Returns:
        One for each row, `None` for a row without a result.
    """

    def adjusted(test):
        return statistics.holm([float("nan") if d is None else test(d) for d in differences])

    different = adjusted(statistics.difference_test)
    equivalent = [
        adjusted(lambda d, margin=margin: statistics.equivalence_test(d, margin / 100))
        for margin in margins
    ]
    found: list[Verdict | None] = []
    for row, difference in enumerate(differences):
        if difference is None:
            found.append(None)
            continue
        ps = tuple(float(p[row]) for p in equivalent)
        shown = [margin for margin, p in zip(margins, ps, strict=True) if p <= LEVEL]
        sign = 1 if difference.mean > 0 else -1
        found.append(
            Verdict(
                sign if different[row] <= LEVEL else 0,
                min(shown, default=None),
                float(different[row]),
                ps,
            )
        )
    return found
