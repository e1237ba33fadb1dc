"""A rule for a layer of one's own."""

import keras
import pytest
from keras import layers

import tfrcp
from tests.networks import conv, head, image
from tests.references import assert_consistent
from tfrcp.graph.rules import ElementwiseRule


@keras.saving.register_keras_serializable("tfrcp_tests")
class Swish(layers.Layer):
    def call(self, x):
        return x * keras.ops.sigmoid(x)


def network():
    inputs = image()
    return keras.Model(inputs, head(conv(5, "b")(Swish(name="swish")(conv(4, "a")(inputs)))))


def test_registered_layer_is_followed():
    assert tfrcp.trace(network()).proven
    tfrcp.register_rule(Swish, ElementwiseRule())
    graph = tfrcp.trace(network())
    assert not graph.proven
    assert [group.name for group in graph.prunable] == ["a", "b"]
    assert graph.unknown == {}
    assert_consistent(network())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Swish(), ElementwiseRule()), "`layer_class` must be a class.*Swish"),
        ((int, ElementwiseRule()), "`layer_class` must be a class"),
        ((Swish, ElementwiseRule), "`rule` must be an instance"),
        ((Swish, None), "`rule` must be an instance.*None"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        tfrcp.register_rule(*arguments)
