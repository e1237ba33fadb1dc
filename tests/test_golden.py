"""Large networks: golden figures, and dead channels that are removed without a trace."""

import json

import keras
import numpy as np
import pytest

import tfrcp
from tests import golden
from tests.references import images_for, plant_dead

GOLDEN = json.loads(golden.FILE.read_text())


@pytest.fixture(scope="module", params=["MobileNetV2", "EfficientNetB0", "resnet18"])
def network(request):
    model = golden.build(request.param)
    yield request.param, model, tfrcp.trace(model)
    keras.backend.clear_session()


def test_figures(network):
    name, model, graph = network
    cost = tfrcp.CostModel(graph)
    assert golden.figures(graph, cost) == GOLDEN[name]
    assert cost.full.params == model.count_params()


def test_dead_channels_are_removed(network):
    _, model, graph = network
    random = np.random.default_rng(3)
    for variable in model.variables:
        # All else stays as Keras makes it, without offsets: what comes out tells of the image.
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    masks = {group.name: random.random(group.size) > 0.3 for group in graph.prunable}
    plant_dead(model, graph, masks)
    images = images_for(model, count=2)
    pruned = tfrcp.slice_model(model, graph, masks)
    assert pruned.count_params() < 0.7 * model.count_params()
    expected = np.asarray(model(images))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(pruned(images) / scale, expected / scale, atol=1e-4)
    assert np.abs(expected[0] - expected[1]).max() > 0.01 * scale


def test_every_network_has_its_figures():
    assert set(GOLDEN) == {*golden.applications(), *golden.builders()}
    assert not [name for name, row in GOLDEN.items() if row["uncounted"]]
