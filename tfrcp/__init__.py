"""tfrcp: structured channel pruning for Keras 3 by random search under a FLOP budget."""

from tfrcp import criteria, data, latency, models, search
from tfrcp.cost import CostModel, Costs
from tfrcp.export import export
from tfrcp.graph import ChannelGraph, ChannelGroup, WeightSlice, register_rule, trace
from tfrcp.inheritance import select, slice_model
from tfrcp.search.oracles import (
    EvolutionaryChannelOracle,
    RandomChannelOracle,
    SurrogateChannelOracle,
)
from tfrcp.search.prune import prune
from tfrcp.search.tuner import (
    EvolutionaryChannelSearch,
    RandomChannelSearch,
    SurrogateChannelSearch,
)
from tfrcp.space import Budget, SearchSpace
from tfrcp.update import recalibrate_batch_norm, reconstruct

__version__ = "0.1.0"

__all__ = [
    "Budget",
    "ChannelGraph",
    "ChannelGroup",
    "CostModel",
    "Costs",
    "EvolutionaryChannelOracle",
    "EvolutionaryChannelSearch",
    "RandomChannelOracle",
    "RandomChannelSearch",
    "SearchSpace",
    "SurrogateChannelOracle",
    "SurrogateChannelSearch",
    "WeightSlice",
    "criteria",
    "data",
    "export",
    "latency",
    "models",
    "prune",
    "recalibrate_batch_norm",
    "reconstruct",
    "register_rule",
    "search",
    "select",
    "slice_model",
    "trace",
]
