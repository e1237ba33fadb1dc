"""Composite layers are opened; the sliced model is the masked original without them."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfrcp
from tests.references import (
    assert_close,
    count_cost,
    flat,
    full_masks,
    images_for,
    random_masks,
    randomize,
    removed_outputs,
)
from tfrcp.graph.program import Program
from tfrcp.graph.weights import read_weights, slice_weights


class Squeeze(layers.Layer):
    """Squeeze-and-excite."""

    def build(self, shape):
        self.pool = layers.GlobalAveragePooling2D(keepdims=True)
        self.less = layers.Conv2D(shape[-1] // 4, 1, activation="relu")
        self.more = layers.Conv2D(shape[-1], 1, activation="sigmoid")
        self.less.build((None, 1, 1, shape[-1]))
        self.more.build((None, 1, 1, shape[-1] // 4))

    def call(self, x):
        return layers.Multiply()([x, self.more(self.less(self.pool(x)))])


class Inverted(layers.Layer):
    """An inverted bottleneck with layers in lists and a layer of layers inside."""

    def __init__(self, filters, **options):
        super().__init__(**options)
        wide = layers.Conv2D(4 * filters, 1, use_bias=False)
        self.convs = [wide, layers.DepthwiseConv2D(3, padding="same"), layers.Conv2D(filters, 1)]
        self.norms = [layers.BatchNormalization() for _ in self.convs]
        self.squeeze, self.drop = Squeeze(), layers.Dropout(0.2)

    def call(self, inputs, training=False):
        x = inputs
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = norm(conv(x), training=training)
            x = ops.silu(x) if i < 2 else x
            x = self.squeeze(x) if i == 1 else x
        if inputs.shape[-1] == x.shape[-1]:
            x = self.drop(x, training=training) + inputs
        return x


class Block(layers.Layer):
    """A transformer block with a nested model, called with arguments by name."""

    def __init__(self, width, heads, **options):
        super().__init__(**options)
        self.attend = layers.MultiHeadAttention(heads, width // heads)
        self.feed = keras.Sequential([layers.Dense(2 * width, "gelu"), layers.Dense(width)])
        self.first, self.second = layers.LayerNormalization(), layers.LayerNormalization()

    def call(self, x, training=None):
        y = self.first(x)
        x = x + self.attend(query=y, value=y)
        return x + self.feed(self.second(x), training=training)


class Tokens(layers.Layer):
    """Patches as tokens: a reshape to the size of the batch."""

    def __init__(self, width, **options):
        super().__init__(**options)
        self.project = layers.Conv2D(width, 2, strides=2, name="project")

    def call(self, x):
        x = self.project(x)
        return ops.reshape(x, (ops.shape(x)[0], -1, x.shape[3]))


class Two(layers.Layer):
    """Takes two tensors, returns two."""

    def __init__(self, **options):
        super().__init__(**options)
        self.a, self.b = layers.Conv2D(6, 1, name="same"), layers.Conv2D(6, 1, name="same")

    def call(self, x, other):
        return self.a(x) + self.b(other), {"plain": x}


def convolutional():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", name="stem")(x)
    for filters in (8, 8, 12):
        x = Inverted(filters, name=f"block_{filters}" if filters == 12 else None)(x)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalMaxPooling2D()(x)))


def transformer():
    x = inputs = keras.Input((8, 8, 3))
    x = Tokens(12, name="tokens")(x)
    x = Block(12, 3, name="one")(x)
    x = Block(12, 3, name="two")(x, training=False)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def shared():
    """Called twice, with several inputs and outputs, inside of a nested model, too."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, name="stem")(inputs)
    two = Two(name="two")
    y, rest = two(x, other=x)
    z, _ = two(y, other=rest["plain"])
    inner = keras.Input((6, 6, 6))
    nested = keras.Model(inner, Inverted(6, name="in")(inner), name="nested")
    return keras.Model(inputs, [layers.Conv2D(2, 3)(nested(z)), layers.Flatten()(y)])


@pytest.mark.parametrize("build", [convolutional, transformer, shared])
def test_sliced_equals_masked_and_saved(build, tmp_path):
    model = build()
    randomize(model)
    nodes = [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    before = model.get_weights()
    graph, images = tfrcp.trace(model), images_for(model)
    assert not graph.unknown and not graph.calls.closed
    assert nodes == [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    whole = tfrcp.slice_model(model, graph, full_masks(graph))
    assert_close(flat(whole(images)), flat(model(images)), 1e-6)
    assert tfrcp.CostModel(graph).full.params == model.count_params() == whole.count_params()
    program, weights = Program(graph), read_weights(graph, model)
    for seed in (1, 2):
        masks = random_masks(graph, seed)
        pruned = tfrcp.slice_model(model, graph, masks)
        expected = removed_outputs(model, graph, masks, images)
        assert_close(flat(pruned(images)), expected)
        assert_close(flat(program.run(slice_weights(graph, weights, masks), images)), expected)
    counted = tfrcp.CostModel(tfrcp.trace(pruned)).full
    counts = np.array([masks[group.name].sum() for group in graph.prunable])
    assert counted.flops == tfrcp.CostModel(graph)(counts).flops[0]
    pruned.save(tmp_path / "pruned.keras")
    assert_close(flat(keras.models.load_model(tmp_path / "pruned.keras")(images)), expected, 1e-6)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("calls", [1, 2])
def test_what_a_layer_computes_and_nobody_reads_costs_nothing(calls):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, name="stem")(inputs)
    two = Two(name="two")
    y, rest = two(x, other=x)
    if calls == 2:  # the sum of the first is not read
        y, _ = two(rest["plain"], other=x)
    z = y if calls == 2 else rest["plain"]
    model = keras.Model(inputs, layers.Conv2D(2, 1)(layers.Conv2D(5, 1, name="last")(z)))
    randomize(model)
    graph, images = tfrcp.trace(model), images_for(model)
    named = {call.path for call in graph.calls.calls}
    assert ("two/same" in named or "two/a" in named) == (calls == 2)
    masks = random_masks(graph, 1)
    pruned = tfrcp.slice_model(model, graph, masks)
    assert_close(flat(pruned(images)), removed_outputs(model, graph, masks, images))
    cost, counts = tfrcp.CostModel(graph), np.array([masks[g.name].sum() for g in graph.prunable])
    assert tuple(cost.full) == count_cost(tfrcp.slice_model(model, graph, full_masks(graph)))
    assert tuple(int(n[0]) for n in cost(counts)) == count_cost(pruned)


def test_multiply_adds_are_those_of_the_whole_layer():
    model = convolutional()
    opened, whole = tfrcp.trace(model), tfrcp.trace(model, expand=False)
    costs = [tfrcp.CostModel(graph).full for graph in (opened, whole)]
    assert costs[0].flops == costs[1].flops and costs[0].params == costs[1].params
    assert {"block_12"} < set(whole.unknown)


def test_groups_have_the_paths_that_the_user_knows():
    graph = tfrcp.trace(transformer())
    names = [group.name for group in graph.prunable]
    assert names[:2] == ["tokens/project", "one/attend"]
    assert names[2].startswith("one/feed/dense")
    text = tfrcp.trace(convolutional()).explain()
    assert "block_12/squeeze/less" in text


def test_batch_norm_of_an_opened_layer_is_trained():
    model = convolutional()
    graph = tfrcp.trace(model)
    pruned = tfrcp.slice_model(model, graph, full_masks(graph))
    norm = pruned.get_layer("block_12_norms_0")
    old = np.array(norm.moving_mean)
    pruned.compile("sgd", "mse")
    pruned.fit(np.ones((4, 8, 8, 3)), np.ones((4, 3)), verbose=0)
    assert not np.allclose(old, norm.moving_mean)
