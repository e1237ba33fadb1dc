"""Sliced models keep the configuration of their layers: initializers, flags, arguments."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfrcp
from tests.graph.test_carrying import IMAGES, convolutions, sliced


@keras.saving.register_keras_serializable("tests")
class Masked(keras.constraints.Constraint):
    def __init__(self, mask):
        self.mask = np.asarray(mask)

    def __call__(self, w):
        return w * ops.cast(self.mask, w.dtype)

    def get_config(self):
        return {"mask": self.mask.tolist()}


class Weighted(keras.regularizers.Regularizer):
    def __init__(self, weights):
        self.weights = weights

    def __call__(self, x):
        return ops.sum(self.weights * x**2)

    def get_config(self):
        return {"weights": self.weights}


@pytest.mark.parametrize(
    ("options", "whole"),
    [
        ({"kernel_constraint": Masked(np.eye(8)[None, None])}, True),
        ({"kernel_regularizer": Weighted(np.ones((1, 1, 8, 8), "float32"))}, True),
        ({"kernel_regularizer": Weighted(0.25)}, False),
        ({"kernel_regularizer": lambda x: 0.25 * ops.sum(x**2)}, False),
        ({"kernel_constraint": keras.constraints.MaxNorm(1, axis=[0, 1, 2])}, False),
    ],
)
def test_regularizers_and_constraints(options, whole):
    layer = layers.Conv2D(8, 1, name="third", **options)
    model = convolutions(layer)
    pruned = sliced(model)
    assert pruned.get_layer("first").filters == 4
    assert pruned.get_layer("second").filters == (8 if whole else 4)
    copy = pruned.get_layer("third")
    for name, value in options.items():
        kept = getattr(copy, name)
        assert kept is value or type(kept) is keras.constraints.MaxNorm
    assert len(pruned.losses) == len(model.losses)
    if whole:
        np.testing.assert_allclose(sum(pruned.losses), sum(model.losses), rtol=1e-6)


@pytest.mark.parametrize("kind", ["constant", "list", "function", "class"])
def test_initializers_of_arrays_are_kept_where_the_shape_is(kind):
    array = np.arange(8, dtype="float32")

    class Array(keras.initializers.Initializer):
        def __init__(self, values):
            self.values = values

        def __call__(self, shape, dtype=None):
            return ops.convert_to_tensor(self.values, dtype)

        def get_config(self):
            return {"values": self.values}

    made = {
        "constant": keras.initializers.Constant(array),
        "list": keras.initializers.Constant(array.tolist()),
        "function": lambda shape, dtype=None: tf.constant(array, dtype),
        "class": Array(array),
    }[kind]
    model = convolutions(layers.Conv2D(8, 1, bias_initializer=made, name="third"))
    graph = tfrcp.trace(model)
    halves = {g.name: np.arange(g.size) % 2 == 0 for g in graph.prunable if g.name == "third"}
    assert halves
    pruned = tfrcp.slice_model(model, graph, halves)
    np.testing.assert_array_equal(pruned.get_layer("third").bias, array[::2])
    whole = tfrcp.slice_model(model, graph, {}).get_layer("third")
    np.testing.assert_array_equal(whole.bias_initializer((8,)), array)


def test_flags_and_precision_of_every_layer():
    attended = layers.MultiHeadAttention(2, 4, name="attention", dtype="mixed_bfloat16")
    inputs = keras.Input((5, 8))
    x = layers.Dense(8, dtype="mixed_float16", name="half")(inputs)
    x = layers.Dense(8, dtype="float64", name="double")(x)
    x = layers.Dropout(0.5, seed=3, name="drop")(attended(x, x))
    outputs = layers.Dense(2, dtype="float32", name="head")(x)
    model = keras.Model(inputs, outputs)
    attended._key_dense.trainable = False
    attended._value_dense.bias.trainable = False
    model.get_layer("double").trainable = False
    pruned = sliced(model)
    for layer in pruned.layers[1:]:
        assert layer.dtype_policy == model.get_layer(layer.name).dtype_policy
    expected = [v.path.split("/")[-2:] for v in model.trainable_variables]
    assert [v.path.split("/")[-2:] for v in pruned.trainable_variables] == expected
    model.trainable = False
    frozen = sliced(model)
    assert not frozen.trainable_variables
    drops = [m.get_layer("drop") for m in (model, pruned)]
    first, second = [np.asarray(d(np.ones((4, 9), "float32"), training=True)) for d in drops]
    np.testing.assert_array_equal(first, second)


class Scale(layers.Layer):
    """Its `get_config` leaves out an argument, and it is not registered."""

    def __init__(self, size, factor=1.0, function=None, **options):
        super().__init__(**options)
        self.size, self.factor, self.function = size, factor, function

    def call(self, x):
        y = self.factor * x
        return y if self.function is None else self.function(y)

    def get_config(self):
        return {**super().get_config(), "size": self.size}


class Inner(layers.Layer):
    """Its `get_config` hands out the very layer that it holds."""

    def __init__(self, inner, functions=(), **options):
        super().__init__(**options)
        self.inner, self.functions = inner, list(functions)

    def call(self, x):
        x = self.inner(x)
        for function in self.functions:
            x = function(x)
        return x

    def get_config(self):
        return {**super().get_config(), "inner": self.inner, "functions": self.functions}


def test_arguments_that_a_configuration_leaves_out():
    model = convolutions(Scale(4, factor=3.0, function=lambda x: x + 1))
    np.testing.assert_allclose(sliced(model, 1.0)(IMAGES), model(IMAGES), rtol=1e-5, atol=1e-6)


def test_layers_in_a_configuration_are_not_shared():
    offset = 2.0
    layer = Inner(layers.Dense(8, name="inside"), [lambda x: x + offset, ops.relu])
    model = convolutions(layer)
    copy = sliced(model, 1.0)
    np.testing.assert_allclose(copy(IMAGES), model(IMAGES), rtol=1e-5, atol=1e-6)
    assert not {id(v) for v in copy.variables} & {id(v) for v in model.variables}


class Closed(layers.Layer):
    """Cannot be made again: its argument is no part of the configuration."""

    def __init__(self, table):
        super().__init__()
        self.table = self.add_weight(shape=np.shape(table), name="table")

    def call(self, x):
        return ops.cumsum(x + self.table, axis=-1)


def test_a_layer_without_configuration_is_named():
    layer = Closed(np.ones(8))
    with pytest.raises(ValueError, match=f"`{layer.name}` .*get_config"):
        sliced(convolutions(layer))
