"""Oracles: hand channel vectors to keras-tuner, one trial each."""

from tfrcp.search.oracles.base import ChannelOracle
from tfrcp.search.oracles.variants import (
    EvolutionaryChannelOracle,
    GuidedChannelOracle,
    RandomChannelOracle,
    SurrogateChannelOracle,
)

__all__ = [
    "ChannelOracle",
    "EvolutionaryChannelOracle",
    "GuidedChannelOracle",
    "RandomChannelOracle",
    "SurrogateChannelOracle",
]
