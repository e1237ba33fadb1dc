"""What a search tells: how it begins, and its progress line."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from tfrcp.scoring.racing import RACING_INTERVAL
from tfrcp.space.cost import CostModel

if TYPE_CHECKING:
    from tfrcp.search.tuner import ChannelSearch


class Progress:
    """Prints how far a search is: in place on a terminal, else a line now and then."""

    _EVERY = 10.0

    def __init__(self, oracle: Any, *, verbose: bool = True) -> None:
        self._oracle, self._verbose = oracle, verbose
        self._before = len(oracle.end_order)
        self._start = self._last = time.monotonic()

    def update(self) -> None:
        """Tells of one more finished trial."""
        if not self._verbose:
            return
        now, done, total = time.monotonic(), len(self._oracle.end_order), self._oracle.max_trials
        terminal = sys.stdout.isatty()
        if not (
            terminal or done == total or done == self._before + 1 or now - self._last > self._EVERY
        ):
            return
        self._last = now
        pace = (now - self._start) / (done - self._before)
        best = self._oracle.get_best_trials(1)[0].score
        line = (
            f"search: {done}/{total} candidates, best {self._oracle.objective.name} "
            f"{best if best is None else format(best, '.4f')}, {pace:.2f} s each, "
            f"{pace * (total - done):.0f} s left"
        )
        end = "\n" if done == total or not terminal else ""
        print(f"\r\033[K{line}" if terminal else line, end=end, flush=True)


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
