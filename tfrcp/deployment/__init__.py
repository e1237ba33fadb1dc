"""Writes a model in a format for deployment, and proves that the file answers like the model.

`export` writes into a temporary folder beside the target, loads the result with the format's own
runtime, compares its outputs with the model's at two batch sizes, and only then moves it under its
final name. On any failure, Ctrl-C included, nothing is left behind and an older export stays.
"""

from tfrcp.deployment.bundle import KINDS, Kind, deploy, kinds, writer
from tfrcp.deployment.writing import Exported, export

__all__ = ["KINDS", "Exported", "Kind", "deploy", "export", "kinds", "writer"]
