"""The explanation names every group, layer and reason, and fits a terminal."""

import keras
import pytest
from keras import layers

import tfrcp
from tests.networks import NETWORKS, Twice, conv, head, image


@pytest.mark.parametrize("name", NETWORKS)
def test_names_everything(name):
    graph = tfrcp.trace(NETWORKS[name].build())
    text = graph.explain()
    words = " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100
    assert words.startswith(f"{graph.name}: {len(graph.prunable)} prunable group")
    for group in graph.groups:
        assert f"{group.name}: {group.size} channel" in words
        assert group.reason in words
        for piece in group.slices:
            assert not group.prunable or piece.layer in words
    for path, kind in graph.unknown.items():
        assert f"{path} ({kind})" in words


def test_of_a_residual_network():
    graph = tfrcp.trace(NETWORKS["residual_a"].build())
    lines = graph.explain().splitlines()
    assert lines[0] == "residual_a: 4 prunable groups with 18 channels, 3 channels frozen."
    start = lines.index("  two: 3 channels")
    assert lines[start + 1 : start + 4] == [
        "    made by two, four",
        "    pass two_bn, four_bn",
        "    read by three_conv, head",
    ]
    assert lines[-2:] == ["Frozen:", "  head: 3 channels, model output"]


def test_singular():
    inputs = image()
    text = tfrcp.trace(keras.Model(inputs, conv(1, "a")(inputs), name="one")).explain()
    assert text.startswith("one: 0 prunable groups with 0 channels, 1 channel frozen.")


def test_no_line_is_longer_than_100_columns():
    inputs = image()
    x = Twice(name="unknown_" * 15)(conv(4, "long_" * 30)(inputs))
    model = keras.Model(inputs, head(layers.ReLU()(conv(5, "name_" * 30)(x))), name="model_" * 20)
    assert max(map(len, tfrcp.trace(model).explain().splitlines())) <= 100
