"""Traced networks that tests of several rooms use."""

from __future__ import annotations

import pytest

import tfrcp
from tests.search.small_search import network
from tfrcp import CostModel


@pytest.fixture(scope="session")
def small():
    graph = tfrcp.trace(network())
    return graph, CostModel(graph)


@pytest.fixture(scope="session")
def resnet():
    graph = tfrcp.trace(tfrcp.models.resnet20())
    return graph, CostModel(graph)
