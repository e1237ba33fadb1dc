"""tfrcp: structured channel pruning for Keras 3 by random search under a FLOP budget."""

from tfrcp import criteria, data, deployment, latency, models, rounding, search
from tfrcp.blueprint import Blueprint
from tfrcp.budget import Budget
from tfrcp.cost import CostModel, Costs
from tfrcp.export import export
from tfrcp.graph import ChannelGraph, ChannelGroup, WeightSlice, register_rule, trace
from tfrcp.inheritance import select, slice_model
from tfrcp.latency_model import LatencyModel
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
from tfrcp.space import SearchSpace
from tfrcp.training.supernet import Supernet
from tfrcp.update import recalibrate_batch_norm, reconstruct

__version__ = "0.1.0"

__all__ = [
    "Blueprint",
    "Budget",
    "ChannelGraph",
    "ChannelGroup",
    "CostModel",
    "Costs",
    "EvolutionaryChannelOracle",
    "EvolutionaryChannelSearch",
    "LatencyModel",
    "RandomChannelOracle",
    "RandomChannelSearch",
    "SearchSpace",
    "Supernet",
    "SurrogateChannelOracle",
    "SurrogateChannelSearch",
    "WeightSlice",
    "criteria",
    "data",
    "deployment",
    "export",
    "latency",
    "models",
    "prune",
    "recalibrate_batch_norm",
    "reconstruct",
    "register_rule",
    "rounding",
    "search",
    "select",
    "slice_model",
    "trace",
]
