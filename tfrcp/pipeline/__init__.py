"""The stages of a run, from a configuration to the report, in a working folder."""

from tfrcp.pipeline.prune import Pipeline
from tfrcp.pipeline.scratch import ScratchPipeline

__all__ = ["Pipeline", "ScratchPipeline"]
