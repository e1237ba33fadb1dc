"""Search: samplers propose channel vectors, oracles hand them to keras-tuner, tuners score them."""

from tfrcp.space.sampling import (
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
