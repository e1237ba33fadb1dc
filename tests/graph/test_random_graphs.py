"""Random graphs of the known pieces: sliced model, masked original, program and cost agree."""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.graph.pieces import PIECES
from tests.graph.random_graphs import examine, networks, recipes


@settings(max_examples=12, derandomize=True, deadline=None, database=None, phases=[Phase.generate])
@given(recipes, networks, st.integers(0, 100))
def test_random_graphs(recipe, network, seed):
    examine(recipe, network, seed, choices=1)


@pytest.mark.parametrize(("number", "piece"), enumerate(PIECES))
def test_every_piece(number, piece):
    recipe = [("conv", 0, 0, 4, 0), (piece, 0, 1, 3, 0), ("conv", 0, 0, 4, 0)]
    assert examine(recipe, (2, False, 1, "pool", "none", "float32"), number, choices=1) >= 4
