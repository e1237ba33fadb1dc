"""Large networks: golden figures, and dead channels that are removed without a trace."""

import json

import keras
import numpy as np
import pytest

import tfrcp
from tests import golden
from tests.references import assert_close, flat, images_for, plant_dead, random_masks, randomize

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
    randomize(model)
    masks = random_masks(graph, 3)
    plant_dead(model, graph, masks)
    images = images_for(model, count=2)
    pruned = tfrcp.slice_model(model, graph, masks)
    assert pruned.count_params() < 0.7 * model.count_params()
    assert_close(flat(pruned(images)), flat(model(images)))
    assert np.ptp(pruned(images), axis=0).max() > 0


def test_every_network_has_its_figures():
    assert set(GOLDEN) == {*golden.applications(), *golden.builders()}
    assert not [name for name, row in GOLDEN.items() if row["uncounted"]]
