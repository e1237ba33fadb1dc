"""The last repair of a search's winner, which is worth more work than every candidate's."""

from __future__ import annotations

import sys

import keras

from tfrcp.reconstruction import recalibrate_batch_norm, reconstruct
from tfrcp.search.tuner import ChannelSearch


def best_model(tuner: ChannelSearch, *, verbose: bool = True) -> tuple[keras.Model, float]:
    """The best candidate, repaired layer by layer.

    Candidates are repaired by least squares on the inputs that layers have in the original network,
    which costs little. The winner's kernels are fitted once more, each to the inputs that it has in
    the pruned network (`tfrcp.reconstruct`, "sequential"), and its batch norms are re-estimated. If
    the holdout images show no gain, it stays as it was scored; so it does where the search repairs
    otherwise.

    Args:
        tuner: A search whose `search` has returned in this process.
        verbose: Whether to show progress.

    Returns:
        Tuple of the pruned model and its score on the holdout images.
    """
    trial = tuner.oracle.get_best_trials(1)[0]
    (model,), evaluator = tuner.get_best_models(1), tuner.evaluator
    if tuner.update != "least_squares":
        return model, trial.score
    scored = model.get_weights()
    masks = evaluator.masks(tuner.channels_of(trial))
    shown = verbose and sys.stdout.isatty()
    reconstruct(model, tuner.model, tuner.graph, masks, evaluator.calibration, verbose=shown)
    recalibrate_batch_norm(model, evaluator.calibration)
    score = evaluator.score_model(model)
    if tuner.objective.better(score, trial.score):
        return model, score
    model.set_weights(scored)
    return model, trial.score
