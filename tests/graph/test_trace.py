"""Which channel groups are found, in every small network."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfrcp
from tests.networks import NETWORKS, conv, head, image, norm
from tests.references import flat, images_for, permute, randomize


@pytest.mark.parametrize("name", NETWORKS)
def test_groups(name):
    network = NETWORKS[name]
    graph = tfrcp.trace(network.build())
    assert {group.name: group.size for group in graph.prunable} == network.prunable
    frozen = {group.name: group for group in graph.groups if not group.prunable}
    assert {key: group.size for key, group in frozen.items()} == {
        key: size for key, (size, _) in network.frozen.items()
    }
    for key, (_, fragment) in network.frozen.items():
        assert fragment in frozen[key].reason
    assert set(network.unknown.items()) <= set(graph.unknown.items())


@pytest.mark.parametrize("name", NETWORKS)
def test_groups_are_well_formed(name):
    model = NETWORKS[name].build()
    graph = tfrcp.trace(model)
    names = [group.name for group in graph.groups]
    assert len(set(names)) == len(names)
    assert graph.prunable == tuple(group for group in graph.groups if group.prunable)
    np.testing.assert_array_equal(graph.full, [group.size for group in graph.prunable])
    taken = {}
    for group in graph.groups:
        assert bool(group.reason) != group.prunable
        for piece in group.slices:
            assert piece.role in ("input", "output", "channelwise")
            here = piece.channel_of >= 0
            assert set(piece.channel_of[here]) == set(range(group.size))
            place = taken.setdefault((piece.layer, piece.weight, piece.axis), np.zeros(here.size))
            place += here
    assert all(place.max() == 1 for place in taken.values())


@pytest.mark.parametrize(
    "name", ["residual_a", "depthwise", "vgg", "concatenated", "reshaped", "nested", "attention"]
)
def test_order_of_channels_in_a_group_does_not_matter(name):
    model = NETWORKS[name].build()
    randomize(model)
    graph, images, rng = tfrcp.trace(model), images_for(model), np.random.default_rng(0)
    before, weights = flat(model(images)), model.get_weights()
    permute(model, graph, {group.name: rng.permutation(group.size) for group in graph.prunable})
    assert any((a != b).any() for a, b in zip(weights, model.get_weights(), strict=True))
    for left, right in zip(before, flat(model(images)), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)


def places(graph, name):
    """(layer, weight, axis, role) of every slice of a group, and where its channels are."""
    group = next(group for group in graph.groups if group.name == name)
    return {
        (piece.layer, piece.weight, piece.axis, piece.role): piece.channel_of.tolist()
        for piece in group.slices
    }


def test_slices_of_a_padded_shortcut():
    graph = tfrcp.trace(NETWORKS["residual_a"].build())
    old, added = places(graph, "stem_conv"), places(graph, "two")
    assert old["stem_conv", "kernel", 3, "output"] == [0, 1, 2, 3]
    assert old["one_conv", "kernel", 2, "input"] == [0, 1, 2, 3]
    assert old["two", "kernel", 3, "output"] == [-1, 0, 1, 2, 3, -1, -1]
    assert old["two_bn", "gamma", 0, "channelwise"] == [-1, 0, 1, 2, 3, -1, -1]
    assert old["head", "kernel", 0, "input"] == [-1, 0, 1, 2, 3, -1, -1]
    assert added["two", "kernel", 3, "output"] == [0, -1, -1, -1, -1, 1, 2]
    assert added["four_bn", "moving_variance", 0, "channelwise"] == [0, -1, -1, -1, -1, 1, 2]
    assert ("stem_conv", "kernel", 3, "output") not in added


def test_slices_of_flatten_and_depthwise():
    graph = tfrcp.trace(NETWORKS["vgg"].build())
    assert places(graph, "b_conv")["c", "kernel", 0, "input"] == list(range(5)) * 9
    graph = tfrcp.trace(NETWORKS["depthwise"].build())
    stem = places(graph, "stem_conv")
    assert stem["depthwise", "kernel", 2, "output"] == [0, 1, 2]
    assert stem["depthwise_bn", "beta", 0, "channelwise"] == [0, 0, 1, 1, 2, 2]
    assert stem["pointwise", "kernel", 2, "input"] == [0, 0, 1, 1, 2, 2]


def test_slices_of_concatenation():
    graph = tfrcp.trace(NETWORKS["concatenated"].build())
    a = places(graph, "a_conv")
    assert a["c", "kernel", 2, "input"] == [0, 1, 2, -1, -1, -1, -1]
    assert a["d", "kernel", 2, "input"] == [-1, -1, -1, -1, 0, 1, 2]
    assert a["head", "kernel", 0, "input"] == [-1] * 11 + [0, 1, 2]


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_groups_of_resnet20(shortcut):
    graph = tfrcp.trace(tfrcp.models.resnet20((8, 8, 1), shortcut=shortcut))
    expected = tfrcp.models.full_channels("resnet20", shortcut=shortcut)
    assert [(group.name, group.size) for group in graph.prunable] == list(expected.items())
    assert [(group.name, group.size) for group in graph.groups if not group.prunable] == [
        ("classifier", 10)
    ]


def test_groups_of_vgg16():
    graph = tfrcp.trace(tfrcp.models.vgg16((8, 8, 1)))
    expected = tfrcp.models.full_channels("vgg16")
    assert [(group.name, group.size) for group in graph.prunable] == list(expected.items())


def test_channels_first():
    inputs = keras.Input((2, 6, 6))
    first = {"data_format": "channels_first"}
    x = norm("bn", axis=1)(conv(4, "a", **first)(inputs))
    x = layers.MaxPooling2D(2, **first)(layers.DepthwiseConv2D(1, **first)(x))
    x = layers.GlobalAveragePooling2D(**first)(conv(5, "b", use_bias=False, **first)(x))
    graph = tfrcp.trace(keras.Model(inputs, layers.Dense(3, name="head")(x)))
    assert {group.name: group.size for group in graph.prunable} == {"a": 4, "b": 5}


def test_model_without_layers():
    inputs = image()
    graph = tfrcp.trace(keras.Model(inputs, inputs, name="nothing"))
    assert graph.groups == graph.prunable == ()
    assert graph.full.shape == (0,)
    assert "0 prunable groups" in graph.explain()


def test_branch_that_no_output_needs_is_left_out():
    inputs = image()
    x = conv(4, "a")(inputs)
    conv(5, "aside")(x)
    graph = tfrcp.trace(keras.Model(inputs, head(conv(6, "b")(x))))
    assert [group.name for group in graph.prunable] == ["a", "b"]


def test_model_from_an_intermediate_tensor():
    inputs = image()
    x = conv(4, "a")(inputs)
    y = head(conv(5, "b")(x))
    graph = tfrcp.trace(keras.Model(x, y))
    assert [group.name for group in graph.prunable] == ["b"]


def test_every_other_channel_is_frozen():
    inputs = image()
    x = conv(4, "a")(inputs)
    graph = tfrcp.trace(keras.Model(inputs, head(conv(5, "b")(x[..., ::2]))))
    assert [group.name for group in graph.prunable] == ["b"]
    assert "(GetItem)" in graph.groups[0].reason


def test_reduction_over_all_channels():
    inputs = image()
    x = ops.max(conv(4, "a")(inputs), axis=(1, 2, 3), keepdims=True)
    x = conv(5, "b")(conv(4, "c")(inputs) * x)
    graph = tfrcp.trace(keras.Model(inputs, head(x)))
    assert {group.name for group in graph.prunable} == {"a", "b", "c"}
    assert next(group for group in graph.groups if group.name == "a").normalized


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x)


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 3), "float32"))
    return model


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: None, "must be a built Functional or Sequential.*Received: model=None"),
        (lambda: "resnet20", "must be a built Functional or Sequential.*'resnet20'"),
        (lambda: layers.Dense(3), "must be a built Functional or Sequential"),
        (lambda: keras.Sequential(name="empty"), "'empty' is not built.*`keras.Input`"),
        (lambda: keras.Sequential([layers.Dense(3)], name="open"), "'open' is not built"),
        (subclassed, r"'own' is a subclassed model \(Subclassed\).*Functional"),
    ],
)
def test_what_cannot_be_traced(build, message):
    with pytest.raises(ValueError, match=message):
        tfrcp.trace(build())
