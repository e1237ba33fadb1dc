"""What a search tells: how it begins, and its progress line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tfrcp.scoring.racing import RACING_INTERVAL
from tfrcp.space.cost import CostModel
from tfrcp.status_line import StatusLine

if TYPE_CHECKING:
    from tfrcp.search.tuner import ChannelSearch


class Progress:
    """Prints how far a search is: in place on a terminal, else a line now and then."""

    def __init__(self, oracle: Any, *, verbose: bool = True) -> None:
        self._oracle, self._line = oracle, StatusLine(verbose=verbose, patience=0.0)
        self._before, self._start = len(oracle.end_order), time.monotonic()

    def update(self) -> None:
        """Tells of one more finished trial."""
        done, total = len(self._oracle.end_order), self._oracle.max_trials
        if not (self._line.is_due or done == total):
            return
        passed = time.monotonic() - self._start
        pace = passed / (done - self._before)
        best = self._oracle.get_best_trials(1)[0].score
        self._line.show(
            f"search: {done}/{total} candidates, best {self._oracle.objective.name} "
            f"{best if best is None else format(best, '.4f')}, {pace:.2f} s each, "
            f"{pace * (total - done):.0f} s left",
            last=done == total,
        )


def beginning(tuner: ChannelSearch) -> list[str]:
    """What is worth knowing before the first trial, sentences."""
    lines, scorer, sampler = [], tuner.scorer, tuner.store.sampler
    if tuner.cost.constant or tuner.cost.uncounted:
        lines.append(_out_of_reach(tuner.cost))
    if tuner.space.fixed:
        lines.append(f"{', '.join(tuner.space.fixed)} keep all channels")
    if tuner.store.note:
        lines.append(tuner.store.note)
    if tuner.role == "chief":
        lines.append("workers score every candidate on all holdout images")
    if scorer.racing and scorer.evaluator is not None:
        if not scorer.evaluator.racing and scorer.holdout_size > RACING_INTERVAL:
            lines.append(
                f"'{scorer.objective.name}' cannot be raced here: every candidate sees all holdout "
                "images"
            )
    if hasattr(sampler, "acceptance"):
        lines.append(f"{sampler.acceptance:.1%} of the drawn channel vectors meet the budget")
    return lines


def _out_of_reach(cost: CostModel) -> str:
    """What of a network's cost no pruning changes, a sentence."""
    text = f"{cost.out_of_reach:.1%} of the MACs are out of reach"
    if cost.constant:
        share = sum(cost.constant.values()) / max(cost.full.flops, 1)
        text += f", {share:.1%} in layers without a rule"
    if cost.uncounted:
        text += f"; those of {', '.join(cost.uncounted[:5])} cannot be counted"
    return text
