"""The winner of a search, whose reconstruction is worth more work than every candidate's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from tfrcp.allocation.global_ranking import made_alone

if TYPE_CHECKING:
    from tfrcp.search.tuner import ChannelSearch

_APART = 0.05  # mean difference of kept shares that makes finalists two different networks


class Winner(NamedTuple):
    """The result of a search.

    Attributes:
        model: The pruned network, a plain `keras.Model`.
        score: Its score on the holdout images.
        trial: The trial that it was.
    """

    model: keras.Model
    score: float
    trial: Any


def choose_winner(tuner: ChannelSearch, images: Any = None, *, verbose: bool = True) -> Winner:
    """The best candidate, reconstructed layer by layer.

    Candidates are reconstructed by least squares on the inputs that layers have in the original
    network, which costs little. The kernels of the best one are fitted once more, each to the
    inputs that it has in the pruned network (`tfrcp.reconstruct`, "sequential"), its batch norms on
    the way. What that gains differs between networks, so a search may have several
    `finalists`: it is done for each, and the best of them by the holdout images wins. A network for
    which these show no gain stays as it was scored, so the winner is never worse than the best
    trial.

    Args:
        tuner: A search whose `search` has returned in this process.
        images: Training images for that, arrays as the model takes them. Defaults to those that
            calibrate the candidates.
        verbose: Whether to show progress.
    """
    count = tuner.finalists if tuner.reconstruction == "least_squares" else 1
    trials = finalists(tuner, count)
    images = tuner.evaluator.calibration if images is None else images
    if tuner.reconstruction != "least_squares":
        return Winner(tuner.load_model(trials[0]), trials[0].score, trials[0])
    best = _Found(trials[0].score, trials[0], None)
    for found in _reconstructed(tuner, trials, images, verbose=verbose):
        if verbose and len(trials) > 1:
            print(
                f"search: finalist {found.trial.trial_id}: {found.trial.score:.4f}, "
                f"{found.score:.4f} reconstructed layer by layer",
                flush=True,
            )
        if tuner.objective.better(found.score, best.score):
            best = found
    if best.arrays is None:
        return Winner(tuner.load_model(best.trial), best.score, best.trial)
    model = tuner.evaluator.build(tuner.channels_of(best.trial), best.arrays)
    return Winner(model, best.score, best.trial)


class _Found(NamedTuple):
    """A score, the trial, and its weights; `None` for those that were scored in the search."""

    score: float
    trial: Any
    arrays: Any


def finalists(tuner: ChannelSearch, count: int) -> list[Any]:
    """The best trials that differ from each other, after three of different kinds.

    The order of the scores of candidates is not that after the reconstruction layer by layer, and
    the best of many scores is too good by chance. So the second is the best of the other kind:
    where the channels that several layers make, such as those of residual additions, all stay, the
    gain is larger (11 instead of 6 points at 0.3 of the MACs). The third is the first trial: of a
    guided search it is the allocation that is best known. Measured in docs/method.md.

    Returns:
        List of trials: the best one, the best of the other kind, the first, and of the better half
        those best ones whose widths are not nearly those of one before.
    """
    full = tuner.graph.full
    trials = tuner.store.get_best_trials(tuner.store.max_trials)
    ended = [t for t in trials if t.status == "COMPLETED" and np.isfinite(t.score)]
    if not ended:
        raise ValueError("No candidate has a score that is a number.")
    coupled = ~made_alone(tuner.graph)
    widest = tuner.space.largest[coupled]
    kinds = [bool((tuner.channels_of(t)[coupled] == widest).all()) for t in ended]
    others = [t for t, kind in zip(ended, kinds, strict=True) if kind != kinds[0]]
    first = min(ended, key=lambda trial: (len(trial.trial_id), trial.trial_id))
    found = [ended[0], *others[:1]]
    found = list({t.trial_id: t for t in (*found, first)}.values())[:count]
    ratios = [tuner.channels_of(trial) / full for trial in found]
    for trial in ended[: -(-len(ended) // 2)]:
        if len(found) == count:
            break
        ratio = tuner.channels_of(trial) / full
        if all(np.abs(ratio - other).mean() > _APART for other in ratios):
            found.append(trial)
            ratios.append(ratio)
    return found


def winner_of(tuner: ChannelSearch, *, verbose: bool = True) -> Winner:
    """The winner that a search has chosen itself, or else `choose_winner`."""
    return getattr(tuner, "winner", None) or choose_winner(tuner, verbose=verbose)


def best_model(tuner: ChannelSearch, *, verbose: bool = True) -> tuple[keras.Model, float]:
    """The winner's model and its score on the holdout images; see `winner_of`."""
    return winner_of(tuner, verbose=verbose)[:2]


def _reconstructed(
    tuner: ChannelSearch, trials: list[Any], images: Any, *, verbose: bool
) -> Iterator[_Found]:
    """The networks of trials, reconstructed layer by layer."""
    shown = verbose and sys.stdout.isatty()
    vectors = [tuner.channels_of(trial) for trial in trials]
    networks = tuner.evaluator.reconstruct_all(vectors, images, shown)
    for trial, arrays in zip(trials, networks, strict=True):
        yield _Found(tuner.evaluator.total(arrays), trial, arrays)
