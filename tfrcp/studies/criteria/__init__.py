"""Criteria that are compared in the studies alone; the others are in `tfrcp.criteria`."""

from tfrcp.studies.criteria.hrank import HRank
from tfrcp.studies.criteria.thinet import ThiNet

__all__ = ["HRank", "ThiNet"]
