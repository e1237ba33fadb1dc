"""The winner of a search, whose reconstruction is worth more work than every candidate's."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from tfrcp.reconstruction import recalibrate_batch_norm, reconstruct

if TYPE_CHECKING:
    from tfrcp.search.tuner import ChannelSearch

_LEAST, _SHARE = 128, 2  # images that tell finalists apart: at least so many, such a share
_APART = 0.05  # mean difference of kept shares that makes finalists two different networks


class Winner(NamedTuple):
    """What a search came to.

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
    inputs that it has in the pruned network (`tfrcp.reconstruct`, "sequential"), and its batch
    norms are re-estimated. What that gains differs between networks, so a search may have several
    `finalists`: it is done for each with half of the images (128 at least), and for the best
    of them with all. A network for which the holdout images show no gain stays as it was scored, so
    the winner is never worse than the best trial.

    Args:
        tuner: A search whose `search` has returned in this process.
        images: Training images for that, arrays as the model takes them. Defaults to those that
            calibrate the candidates.
        verbose: Whether to show progress.

    Returns:
        `Winner`.
    """
    count = tuner.finalists if tuner.reconstruction == "least_squares" else 1
    trials = finalists(tuner, count)
    images = tuner.evaluator.calibration if images is None else images
    if len(trials) == 1:
        return _reconstructed(tuner, trials[0], images, verbose=verbose)
    some = max(_LEAST, -(-len(keras.tree.flatten(images)[0]) // _SHARE))
    few = keras.tree.map_structure(lambda x: x[:some], images)
    best: Winner | None = None
    for trial in trials:
        found = _reconstructed(tuner, trial, few, verbose=verbose)
        if verbose:
            print(
                f"search: finalist {trial.trial_id}: {trial.score:.4f}, {found.score:.4f} "
                "reconstructed layer by layer",
                flush=True,
            )
        if best is None or tuner.objective.better(found.score, best.score):
            best = found
    if len(keras.tree.flatten(images)[0]) <= some:
        return best
    whole = _reconstructed(tuner, best.trial, images, verbose=verbose)
    return best if tuner.objective.better(best.score, whole.score) else whole


def finalists(tuner: ChannelSearch, count: int) -> list[Any]:
    """The best trials that differ from each other, best first.

    Args:
        tuner: A search.
        count: How many at most.

    Returns:
        List of trials: the best one, and of the better half those best ones whose widths are not
        nearly those of one before.
    """
    full = tuner.graph.full
    trials = tuner.store.get_best_trials(tuner.store.max_trials)
    ended = [t for t in trials if t.status == "COMPLETED" and np.isfinite(t.score)]
    if not ended:
        raise ValueError("No candidate has a score that is a number.")
    found, ratios = [], []
    for trial in ended[: max(1, -(-len(ended) // 2))]:
        ratio = tuner.channels_of(trial) / full
        if all(np.abs(ratio - other).mean() > _APART for other in ratios):
            found.append(trial)
            ratios.append(ratio)
        if len(found) == count:
            break
    return found


def winner_of(tuner: ChannelSearch, *, verbose: bool = True) -> Winner:
    """The winner that a search has chosen itself, or else `choose_winner`."""
    return getattr(tuner, "winner", None) or choose_winner(tuner, verbose=verbose)


def best_model(tuner: ChannelSearch, *, verbose: bool = True) -> tuple[keras.Model, float]:
    """The winner's model and its score on the holdout images; see `winner_of`."""
    return winner_of(tuner, verbose=verbose)[:2]


def _reconstructed(tuner: ChannelSearch, trial: Any, images: Any, *, verbose: bool) -> Winner:
    """A trial's network with the better of its two reconstructions."""
    model, evaluator = tuner.load_model(trial), tuner.evaluator
    if tuner.reconstruction != "least_squares":
        return Winner(model, trial.score, trial)
    scored = model.get_weights()
    masks = evaluator.masks(tuner.channels_of(trial))
    shown = verbose and sys.stdout.isatty()
    reconstruct(model, tuner.model, tuner.graph, masks, images, verbose=shown)
    recalibrate_batch_norm(model, images)
    score = evaluator.score_model(model)
    if tuner.objective.better(score, trial.score):
        return Winner(model, score, trial)
    model.set_weights(scored)
    return Winner(model, trial.score, trial)
