"""What people write themselves: attention of einsums, gates, distances, layers of one line."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfrcp
from tests.graph.pattern_check import check_pattern
from tests.references import (
    assert_close,
    flat,
    images_for,
    masked_outputs,
    random_masks,
    randomize,
)


def tokens(change):
    """A network that changes eight channels of six tokens."""
    inputs = keras.Input((6, 5))
    x = change(layers.Dense(8, name="before")(inputs))
    x = layers.Flatten()(x) if len(x.shape) > 2 else x
    return keras.Model(inputs, layers.Dense(3, name="head")(x))


def projected(x, equation, name, *sizes, **options):
    return layers.EinsumDense(equation, output_shape=sizes, name=name, **options)(x)


def attention(x):
    options = {"bias_axes": "de", "activation": "relu"}
    q, k, v = (projected(x, "abc,cde->abde", name, None, 3, 4, **options) for name in "qkv")
    scores = layers.Softmax()(ops.einsum("aecd,abcd->acbe", k, q))
    y = ops.einsum("acbe,aecd->abcd", scores, v)
    return x + projected(y, "abcd,cde->abe", "joined", None, 8, bias_axes="e")


def reshaped_heads(x):
    y = ops.reshape(layers.Dense(6, name="wide")(x), (-1, 6, 6, 1))
    return projected(y, "...xy,xyz->...z", "joined", 7, bias_axes="z")


def turned(x):
    y = projected(x, "abc,cd->adb", "turned", 6, 6)
    return projected(y, "adb,df->abf", "back", 6, 4)


def pooled(x):
    weights = ops.softmax(layers.Dense(1, name="weight")(x), axis=1)
    return ops.squeeze(ops.matmul(ops.transpose(weights, (0, 2, 1)), x), 1)


def several(x):
    y = layers.Dense(8, name="other")(x)
    x = layers.Lambda(lambda pair: pair[0] * ops.tanh(pair[1]), name="gate")([x, y])
    return layers.Lambda(lambda pair: ops.concatenate(pair, axis=-1), name="join")([x, y])


WRITTEN = {
    "attention": (attention, {"before": 8, "k": 3}),
    "heads of a reshape": (reshaped_heads, {"before": 8, "wide": 6, "joined": 7}),
    "turned": (turned, {"before": 8, "turned": 6, "back": 4}),
    "pooled": (pooled, {"before": 8}),
    "several": (several, {"before": 8}),
    "gated": (lambda x: ops.glu(x), {"before": 4}),
    "gated tokens": (lambda x: ops.glu(x, axis=1), {"before": 8}),
    "unit length": (lambda x: ops.normalize(x), {"before": 8}),
    "unit tokens": (lambda x: ops.normalize(x, axis=1), {"before": 8}),
    "length": (lambda x: x / ops.norm(x, axis=-1, keepdims=True), {"before": 8}),
    "twice": (lambda x: ops.repeat(x, 2, axis=-1), {"before": 8}),
    "each as often as told": (lambda x: ops.repeat(x, [1, 2] * 4, axis=-1), {}),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_written(name, tmp_path):
    change, groups = WRITTEN[name]
    check_pattern(tokens(change), groups, tmp_path)


@pytest.mark.parametrize("equation", ["abc,bcd->abd", "abc,cd->ad"])
def test_other_equations_are_frozen(equation):
    inputs = keras.Input((6, 5))
    shape = (6, 7) if "abd" in equation else (7,)
    x = layers.Dense(8, name="before")(inputs)
    x = layers.EinsumDense(equation, output_shape=shape, name="odd")(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    graph = tfrcp.trace(model)
    assert "is not supported" in graph.groups[0].reason
    randomize(model)
    images = images_for(model)
    assert_close(flat(tfrcp.slice_model(model, graph, {})(images)), flat(model(images)), 1e-6)


@keras.saving.register_keras_serializable("written")
class Level(layers.Layer):
    """A number for each token, [tokens, 1]."""

    def build(self, shape):
        self.level = self.add_weight(shape=(shape[1], 1), name="level")

    def call(self, x):
        return x + self.level


@pytest.mark.parametrize("size", [6, 8])
@pytest.mark.parametrize("bias", ["weight", "array", "einsum"])
def test_a_vector_that_keras_may_add_along_the_channels(size, bias):
    # `keras.ops.add` does where there are as many channels as numbers.
    x = inputs = keras.Input((6, 5))
    x = layers.Dense(size, name="before")(x)
    if bias == "weight":
        x = Level(name="level")(x)
    elif bias == "array":
        x = x + np.arange(6, dtype="float32")[:, None]
    else:
        x = projected(x, "abc,cd->adb", "turned", 8, 6, bias_axes="d")
    x = layers.Dense(4, name="after")(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    randomize(model)
    model.get_layer("level").level.assign(np.ones((6, 1))) if bias == "weight" else None
    graph, images = tfrcp.trace(model), images_for(model)
    for seed in range(3):
        masks = random_masks(graph, seed)
        pruned = tfrcp.slice_model(model, graph, masks)
        assert_close(flat(pruned(images)), masked_outputs(model, graph, masks, images))


def test_outputs_of_heads_are_activations():
    model = tokens(attention)
    cost = tfrcp.CostModel(tfrcp.trace(model))
    assert cost.full.activations == 6 * (8 + 3 * 12 + 8) + 3
    assert cost(np.array([8, 1])).activations[0] == 6 * (8 + 3 * 4 + 8) + 3


def test_criteria_score_heads():
    model = tokens(attention)
    randomize(model)
    graph, x = tfrcp.trace(model), images_for(model, 8)
    y = np.zeros((8, 3), "float32")
    model.compile("sgd", "mse")
    for name in ("l1", "taylor", "geometric_median"):
        scores = tfrcp.criteria.get(name)(model, graph, (x, y))
        assert all(np.isfinite(scores[group.name]).all() for group in graph.prunable)
    masks = random_masks(graph, 1)
    pruned = tfrcp.slice_model(model, graph, masks)
    tfrcp.reconstruct(pruned, model, graph, masks, x)
    assert np.isfinite(flat(pruned(x))[0]).all()
