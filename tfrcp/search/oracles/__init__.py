"""Oracles: hand channel vectors to keras-tuner, one trial each."""

from tfrcp.search.oracles.base import ChannelOracle
from tfrcp.search.oracles.variants import (
    EvolutionaryChannelOracle,
    RandomChannelOracle,
    SurrogateChannelOracle,
)

__all__ = [
    "ChannelOracle",
    "EvolutionaryChannelOracle",
    "RandomChannelOracle",
    "SurrogateChannelOracle",
]
