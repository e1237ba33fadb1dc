"""The public names of tfrcp, which its package hands on. They bring Keras with them."""

from tfrcp import allocation, criteria, data, deployment, models, search
from tfrcp.deployment import export, latency, rounding
from tfrcp.deployment.latency_model import LatencyModel
from tfrcp.graph import ChannelGraph, ChannelGroup, WeightSlice, register_rule, trace
from tfrcp.graph.inheritance import select, slice_model
from tfrcp.reconstruction import recalibrate_batch_norm, reconstruct
from tfrcp.scoring.comparison import compare
from tfrcp.search.architecture import ArchitectureSpec
from tfrcp.search.guided import GuidedChannelSearch
from tfrcp.search.oracles import (
    EvolutionaryChannelOracle,
    GuidedChannelOracle,
    RandomChannelOracle,
    SurrogateChannelOracle,
)
from tfrcp.search.prune import prune, tradeoff
from tfrcp.search.sensitivity import sensitivity
from tfrcp.search.variants import (
    EvolutionaryChannelSearch,
    RandomChannelSearch,
    SurrogateChannelSearch,
)
from tfrcp.space import Budget, CostModel, Costs, SearchSpace
from tfrcp.training.recalibration import RecalibrateBatchNorm
from tfrcp.training.supernet import Supernet

__all__ = [
    "ArchitectureSpec",
    "Budget",
    "ChannelGraph",
    "ChannelGroup",
    "CostModel",
    "Costs",
    "EvolutionaryChannelOracle",
    "EvolutionaryChannelSearch",
    "GuidedChannelOracle",
    "GuidedChannelSearch",
    "LatencyModel",
    "RandomChannelOracle",
    "RandomChannelSearch",
    "RecalibrateBatchNorm",
    "SearchSpace",
    "Supernet",
    "SurrogateChannelOracle",
    "SurrogateChannelSearch",
    "WeightSlice",
    "allocation",
    "compare",
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
    "sensitivity",
    "slice_model",
    "trace",
    "tradeoff",
]
