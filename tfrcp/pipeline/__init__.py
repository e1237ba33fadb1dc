"""The stages of a run, from a configuration to the report, in a working folder."""

from tfrcp.pipeline.prune import Pipeline

__all__ = ["Pipeline"]
