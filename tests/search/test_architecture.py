"""A network may be built wider than its original, and is not pruned to be so."""

from __future__ import annotations

import json

import pytest

import tfrcp
from tfrcp import models
from tfrcp.search import architecture

FULL = models.full_channels("resnet20")


@pytest.fixture
def wide(tmp_path):
    """A channels.json with twice as many channels in the stem."""
    graph = tfrcp.trace(models.resnet20((8, 8, 1)))
    channels = graph.full.copy()
    channels[0] *= 2
    model = {"name": "resnet20", "options": {}, "input_shape": [8, 8, 1], "classes": 10}
    content = architecture.describe(graph, channels, model)
    (tmp_path / "channels.json").write_text(json.dumps(content))
    return tfrcp.ArchitectureSpec.read(tmp_path / "channels.json")


def test_a_wider_network_is_built_but_not_pruned(wide):
    built = tfrcp.trace(wide.build())
    assert {group.name: group.size for group in built.prunable} == {**FULL, "stem_conv": 32}
    assert tfrcp.CostModel(built).full.flops == wide.content["flops"]
    assert wide.content["flops_ratio"] > 1
    with pytest.raises(ValueError, match="does not fit the network 'resnet20'.*'stem_conv'"):
        wide.prune(models.resnet20((8, 8, 1)))


@pytest.mark.parametrize("other", ["no_such_group", "stem_conv"])
def test_other_groups_are_refused(wide, other):
    channels = wide.content["channels"]
    channels[other] = channels.pop("stem_conv")  # which now stands last
    with pytest.raises(ValueError, match="has other groups"):
        wide.build()


@pytest.mark.parametrize(
    "width, classes, match",
    [
        (10**6, 3, "not fit into the memory"),
        pytest.param(8, 10**15, "cannot build", marks=pytest.mark.nightly),
    ],
)
def test_a_network_larger_than_the_memory_is_refused(tmp_path, width, classes, match):
    channels = dict.fromkeys(models.full_channels("resnet8"), width)
    model = {"name": "resnet8", "input_shape": [8, 8, 1], "classes": classes}
    content = {"version": architecture.VERSION, "channels": channels, "model": model}
    (tmp_path / "channels.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"channels.json.* {match}"):
        tfrcp.ArchitectureSpec.read(tmp_path / "channels.json").build()
