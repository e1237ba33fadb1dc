"""Predicts how long pruned networks take on this machine, thousands at once, from measured layers.

A network is cut into segments, a convolution with its batch norm and activation for one. Each kind
of segment is timed once at a grid of channel counts; a network's time is the sum over its segments,
interpolated in those tables, times a factor that a few whole networks calibrate.
"""

from tfrcp.deployment.latency_model.model import Check, LatencyModel

__all__ = ["Check", "LatencyModel"]
