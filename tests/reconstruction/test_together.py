"""Several pruned networks of one original, fitted side by side: the same as each alone."""

from collections import Counter

import numpy as np
import pytest

import tfrcp
from tests.networks import NETWORKS
from tests.reconstruction.test_least_squares_limits import counted
from tests.references import full_masks, images_for, randomize
from tfrcp.graph.parts import Parts
from tfrcp.graph.program import Program
from tfrcp.graph.weights import read_weights, slice_weights
from tfrcp.reconstruction.sequential import SequentialLeastSquares
from tfrcp.reconstruction.together import run_together

OPTIONS = {"ridge": 1e-3, "samples": 20, "memory_limit": 2**30}


@pytest.mark.parametrize("name", ["residual_a", "inverted_residual", "called_twice", "vgg"])
def test_each_comes_out_as_alone_and_the_original_runs_once(name, monkeypatch):
    model = NETWORKS[name].build()
    randomize(model)
    graph, x = tfrcp.trace(model), images_for(model, count=40)
    program, weights = Program(graph), read_weights(graph, model)
    networks = []
    for removed in (0, 1, slice(0, 2)):
        masks = full_masks(graph)
        for group in graph.prunable:
            masks[group.name][removed] = False
        networks.append((slice_weights(graph, weights, masks), graph.keep(masks)))
    original = slice_weights(graph, weights, {})

    def fitted(networks, limit=None):
        fits = [SequentialLeastSquares(program, original, *n, **OPTIONS) for n in networks]
        runs = Counter()
        with monkeypatch.context() as patch:
            patch.setattr(Parts, "__call__", counted(Parts.__call__, runs))
            run_together(fits, x, limit=limit)
        return [fit.fitted for fit in fits], sum(runs.values())

    alone = [fitted([network]) for network in networks]
    together, runs = fitted(networks)
    assert 6 * runs == 4 * sum(count for _, count in alone)
    for found in (together, fitted(networks, limit=0)[0]):
        for weights_of, (expected, _) in zip(found, alone, strict=True):
            for path, entry in expected[0].items():
                for key, array in entry.items():
                    np.testing.assert_allclose(weights_of[path][key], array, rtol=1e-4, atol=1e-5)
