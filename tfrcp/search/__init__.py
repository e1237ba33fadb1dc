"""Search: samplers propose channel vectors, oracles hand them to keras-tuner, tuners score them."""

from tfrcp.search.samplers import (
    EvolutionarySampler,
    RandomSampler,
    RejectionSampler,
    Sampler,
    SurrogateSampler,
)

__all__ = [
    "EvolutionarySampler",
    "RandomSampler",
    "RejectionSampler",
    "Sampler",
    "SurrogateSampler",
]
