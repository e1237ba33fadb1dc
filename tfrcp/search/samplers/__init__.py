"""Samplers: which channel vectors are tried. NumPy, and scikit-learn where a surrogate is wanted.

All have the same contract: `suggest(count)` gives vectors that the space allows and the budget
accepts, none of them twice, and `update(channels, scores)` tells how good they were.
"""

from tfrcp.search.samplers.base import Sampler
from tfrcp.search.samplers.evolutionary import EvolutionarySampler
from tfrcp.search.samplers.random import RandomSampler
from tfrcp.search.samplers.rejection import RejectionSampler
from tfrcp.search.samplers.surrogate import SurrogateSampler

__all__ = [
    "EvolutionarySampler",
    "RandomSampler",
    "RejectionSampler",
    "Sampler",
    "SurrogateSampler",
]
