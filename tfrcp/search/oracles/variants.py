"""The oracles, thin over the samplers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import keras_tuner

from tfrcp.cost import CostModel
from tfrcp.search.oracles.base import ChannelOracle
from tfrcp.search.samplers import EvolutionarySampler, RandomSampler, SurrogateSampler
from tfrcp.space import Budget, SearchSpace

if TYPE_CHECKING:
    from tfrcp.latency_model import LatencyModel


class RandomChannelOracle(ChannelOracle):
    """Proposes random channel vectors that meet a budget, none of them twice.

    The n-th trial depends on the space, the budget and the seed alone, however many workers there
    are.

    Args:
        space: `tfrcp.SearchSpace`.
        cost: `tfrcp.CostModel` of the same graph.
        budget: `tfrcp.Budget`.
        objective: String or `keras_tuner.Objective`. Defaults to "val_accuracy".
        max_trials: Int. Defaults to 100.
        seed: Int; 0 is a seed. Defaults to 0.
        latency: `tfrcp.LatencyModel` of the same graph, needed where the budget bounds the latency.
        **options: Further ones of `ChannelOracle`.

    Raises:
        ValueError: If the budget cannot be met, or by fewer vectors than `max_trials`.
    """

    def __init__(
        self,
        space: SearchSpace,
        cost: CostModel,
        budget: Budget,
        objective: str | keras_tuner.Objective = "val_accuracy",
        max_trials: int = 100,
        seed: int = 0,
        *,
        latency: LatencyModel | None = None,
        **options: Any,
    ) -> None:
        make = partial(RandomSampler, space, cost, budget, seed, latency=latency)
        super().__init__(make, objective, max_trials, **options)


class EvolutionaryChannelOracle(ChannelOracle):
    """Proposes channel vectors by regularised evolution; see `EvolutionarySampler`.

    The n-th trial depends on the arguments and on the scores that are known when it is proposed. In
    one process these are the scores of all trials before it, so that the same seed gives the same
    trials, after an interruption too. With several workers it depends on which results are in.

    Args:
        space: As in `RandomChannelOracle`, and so are the next five.
        cost: See there.
        budget: See there.
        objective: See there.
        max_trials: See there.
        seed: See there.
        population: See `EvolutionarySampler`, and so the next two.
        tournament: See there.
        crossover: See there.
        latency: See `RandomChannelOracle`.
        **options: Further ones of `ChannelOracle`.
    """

    def __init__(
        self,
        space: SearchSpace,
        cost: CostModel,
        budget: Budget,
        objective: str | keras_tuner.Objective = "val_accuracy",
        max_trials: int = 100,
        seed: int = 0,
        *,
        population: int = 20,
        tournament: int = 5,
        crossover: float = 0.5,
        latency: LatencyModel | None = None,
        **options: Any,
    ) -> None:
        make = partial(
            EvolutionarySampler,
            space,
            cost,
            budget,
            seed,
            population=population,
            tournament=tournament,
            crossover=crossover,
            latency=latency,
        )
        super().__init__(make, objective, max_trials, **options)


class SurrogateChannelOracle(ChannelOracle):
    """Proposes channel vectors by Bayesian optimisation; see `SurrogateSampler`.

    What a trial depends on is told in `EvolutionaryChannelOracle`.

    Args:
        space: As in `RandomChannelOracle`, and so are the next five.
        cost: See there.
        budget: See there.
        objective: See there.
        max_trials: See there.
        seed: See there.
        random_first: See `SurrogateSampler`.
        latency: See `RandomChannelOracle`.
        **options: Further ones of `ChannelOracle`.
    """

    def __init__(
        self,
        space: SearchSpace,
        cost: CostModel,
        budget: Budget,
        objective: str | keras_tuner.Objective = "val_accuracy",
        max_trials: int = 100,
        seed: int = 0,
        *,
        random_first: int = 20,
        latency: LatencyModel | None = None,
        **options: Any,
    ) -> None:
        make = partial(
            SurrogateSampler,
            space,
            cost,
            budget,
            seed,
            random_first=random_first,
            latency=latency,
        )
        super().__init__(make, objective, max_trials, **options)
