"""Samplers: which channel vectors are tried. NumPy, and scikit-learn where a surrogate is wanted.

All have the same contract: `suggest(count)` gives vectors that the space allows and the budget
accepts, none of them twice, and `update(channels, scores)` tells how good they were.
"""

from tfrcp.space.sampling.base import Sampler
from tfrcp.space.sampling.evolutionary import EvolutionarySampler
from tfrcp.space.sampling.guided import GuidedSampler
from tfrcp.space.sampling.random import RandomSampler
from tfrcp.space.sampling.rejection import RejectionSampler
from tfrcp.space.sampling.spread import SpreadSampler
from tfrcp.space.sampling.surrogate import SurrogateSampler

__all__ = [
    "EvolutionarySampler",
    "GuidedSampler",
    "RandomSampler",
    "RejectionSampler",
    "Sampler",
    "SpreadSampler",
    "SurrogateSampler",
]
