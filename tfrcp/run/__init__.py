"""The stages of a run, from a configuration to the report, in a working folder."""

from tfrcp.run.prune import Pipeline
from tfrcp.run.scratch import ScratchPipeline

__all__ = ["Pipeline", "ScratchPipeline"]
