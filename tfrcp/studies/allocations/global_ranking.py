"""One threshold for the scores of all channels of the network.

Liu et al., "Learning Efficient Convolutional Networks through Network Slimming" (ICCV 2017), rank
the channels of all layers together by their batch-norm scales; with another criterion it is the
global ranking of Molchanov et al. (ICLR 2017, arXiv 1611.06440), who also found that scores must be
normalised layer by layer to be comparable. Network slimming also trains the base with a penalty on
the scales, which no base here has.
"""

from __future__ import annotations

import numpy as np

from tfrcp.studies.allocations.base import Step, deterministic, meet_budget, nearest


@deterministic
def global_ranking(step: Step) -> np.ndarray:
    """Keeps the channels above one threshold, which is bisected to meet the budget.

    The scores of a group are divided by their root mean square. The floor of the space's ratios
    keeps a group from vanishing.

    Args:
        step: The inputs.

    Returns:
        int64 array [prunable groups].
    """
    scores = [step.scores[group.name] for group in step.space.graph.prunable]
    scores = [score / (np.sqrt(np.mean(score**2)) or 1.0) for score in scores]
    every = np.sort(np.concatenate(scores))[::-1]

    def keep(count: float) -> np.ndarray:
        """The vector that the best so many channels of the network make."""
        kept = int(round(count))
        threshold = every[kept - 1] if kept else np.inf
        return nearest(step.space, np.array([np.mean(score >= threshold) for score in scores]))

    return meet_budget(step, keep, float(len(every)))
