"""The searches that differ in their oracle alone."""

from __future__ import annotations

from tfrcp.search.oracles import EvolutionaryChannelOracle, SurrogateChannelOracle
from tfrcp.search.tuner import ChannelSearch


class RandomChannelSearch(ChannelSearch):
    """Random channel pruning: tries random channel counts under a budget. See `ChannelSearch`.

    Li et al., "Revisiting Random Channel Pruning for Neural Network Compression", CVPR 2022.
    """


class EvolutionaryChannelSearch(ChannelSearch):
    """Evolves the channel counts, from random ones. See `ChannelSearch`.

    Further arguments are `population`, `tournament` and `crossover`, as in
    `EvolutionaryChannelOracle`, which also tells what the trials depend on.
    """

    oracle_class = EvolutionaryChannelOracle


class SurrogateChannelSearch(ChannelSearch):
    """Lets a regression of the scores choose the channel counts. See `ChannelSearch`.

    A further argument is `random_first`, as in `SurrogateChannelOracle`, which also tells what the
    trials depend on.
    """

    oracle_class = SurrogateChannelOracle
