"""The oracles: one for each sampler."""

from __future__ import annotations

import numpy as np

from tfrcp.search.loop import Proposals
from tfrcp.search.oracles.base import ChannelOracle
from tfrcp.space.sampling import (
    EvolutionarySampler,
    GuidedSampler,
    RandomSampler,
    SurrogateSampler,
)


class RandomChannelOracle(ChannelOracle):
    """Proposes random channel vectors that meet a budget; arguments as for `ChannelOracle`.

    The n-th trial depends on the space, the budget and the seed alone, however many workers there
    are.
    """

    sampler_class = RandomSampler


class EvolutionaryChannelOracle(ChannelOracle):
    """Proposes channel vectors by regularised evolution.

    The n-th trial depends on the arguments and on the scores that are known when it is proposed. In
    one process these are the scores of all trials before it, so that the same seed gives the same
    trials, after an interruption too. With several workers it depends on which results are in.

    Arguments as for `ChannelOracle`; further ones are `population`, `tournament` and `crossover`,
    as in `EvolutionarySampler`.
    """

    sampler_class = EvolutionarySampler


class SurrogateChannelOracle(ChannelOracle):
    """Proposes channel vectors by Bayesian optimisation.

    What a trial depends on is told in `EvolutionaryChannelOracle`. Arguments as for
    `ChannelOracle`; a further one is `random_first`, as in `SurrogateSampler`.
    """

    sampler_class = SurrogateSampler


class GuidedChannelOracle(ChannelOracle):
    """Proposes given channel vectors first, then moves around the best ones, until none gains.

    It may so end before `max_trials`. What a trial depends on is told in
    `EvolutionaryChannelOracle`. Arguments as for `ChannelOracle`; further ones are `starts`,
    `patience` and `random_first`, as in `GuidedSampler`.
    """

    sampler_class = GuidedSampler

    def start_from(self, vectors: np.ndarray) -> None:
        """Gives the vectors to begin with, once they are known; trials that ended stay.

        Args:
            vectors: int array [N, prunable groups].
        """
        self.proposals = Proposals(self.sampler.again(starts=vectors))
        self.reload()
