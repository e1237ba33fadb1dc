"""Search: samplers propose channel vectors, oracles hand them to keras-tuner, tuners score them."""

from tfrcp.space.sampling import (
    EvolutionarySampler,
    GuidedSampler,
    RandomSampler,
    RejectionSampler,
    Sampler,
    SpreadSampler,
    SurrogateSampler,
)

__all__ = [
    "EvolutionarySampler",
    "GuidedSampler",
    "RandomSampler",
    "RejectionSampler",
    "Sampler",
    "SpreadSampler",
    "SurrogateSampler",
]
