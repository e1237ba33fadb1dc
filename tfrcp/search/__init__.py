"""Search: samplers propose channel vectors, oracles hand them to keras-tuner, tuners score them."""

from tfrcp.search.samplers import RandomSampler

__all__ = ["RandomSampler"]
