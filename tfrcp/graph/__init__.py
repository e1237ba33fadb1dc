"""The channels of a model: traced, grouped, and the traced graph as a program."""

from tfrcp.graph.channels import ChannelGraph, ChannelGroup, WeightSlice
from tfrcp.graph.rules import register_rule
from tfrcp.graph.trace import trace

__all__ = ["ChannelGraph", "ChannelGroup", "WeightSlice", "register_rule", "trace"]
