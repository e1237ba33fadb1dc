"""What `fixed` takes: groups, layers, their names and patterns."""

from __future__ import annotations

import keras
import pytest
from keras import layers

import tfrcp
from tests.networks import NETWORKS


@pytest.fixture(scope="module")
def model():
    inner = keras.Sequential(
        [keras.Input((8, 8, 6)), layers.Conv2D(5, 1, name="one"), layers.Conv2D(7, 1, name="two")],
        name="inside",
    )
    inputs = keras.Input((8, 8, 3))
    a = layers.Conv2D(6, 3, padding="same", name="stem")(inputs)
    b = layers.ReLU(name="relu")(layers.Conv2D(9, 3, padding="same", name="wide")(a))
    b = layers.Conv2D(6, 3, padding="same", name="outer")(b)
    x = layers.Add(name="sum")([a, b])
    x = layers.GlobalAveragePooling2D()(inner(x))
    return keras.Model(inputs, layers.Dense(4, name="head")(x))


@pytest.mark.parametrize(
    ("entry", "groups"),
    [
        ("stem", ["stem"]),
        ("outer", ["stem"]),
        ("sum", ["stem"]),
        ("relu", ["wide"]),
        ("wi*", ["wide"]),
        ("out*", ["stem"]),
        ("inside", ["inside/one", "inside/two"]),
        ("inside/*", ["inside/one", "inside/two"]),
        ("two", ["inside/two"]),
        ("head:inputs", ["inside/two"]),
        (("outer", "inputs"), ["wide"]),
        (("inside", "inputs"), ["stem", "inside/one"]),
    ],
)
def test_names_and_patterns(model, entry, groups):
    space = tfrcp.SearchSpace(tfrcp.trace(model), fixed=[entry])
    assert list(space.fixed) == groups
    for group, choices in zip(space.graph.prunable, space.choices, strict=True):
        assert (choices.tolist() == [group.size]) == (group.name in groups)


def test_objects(model):
    graph = tfrcp.trace(model)
    group = next(group for group in graph.prunable if group.name == "wide")
    for entry, expected in (
        (group, ("wide",)),
        (model.get_layer("outer"), ("stem",)),
        ((model.get_layer("head"), "inputs"), ("inside/two",)),
        (model.get_layer("inside"), ("inside/one", "inside/two")),
        (model.get_layer("inside").get_layer("one"), ("inside/one",)),
    ):
        assert tfrcp.SearchSpace(graph, fixed=[entry]).fixed == expected


@pytest.mark.parametrize(
    "entry", ["head", "nothing", "nothing:inputs", layers.Dense(3), None, 3, ("stem", "outputs")]
)
def test_what_fixes_nothing_is_refused(model, entry):
    with pytest.raises(ValueError, match="no prunable group.*The groups are .*'wide'"):
        tfrcp.SearchSpace(tfrcp.trace(model), fixed=[entry])


def test_a_layer_whose_channels_lie_in_several_groups():
    graph = tfrcp.trace(NETWORKS["residual_a"].build())
    # Zeros pad the shortcut: the layer makes the stem's channels and further ones.
    assert tfrcp.SearchSpace(graph, fixed=["four"]).fixed == ("stem_conv", "two")
