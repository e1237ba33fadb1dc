"""What no rule knows is counted in TensorFlow's graph: a budget is the whole network's."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfrcp
from tfrcp.space.counting import multiply_adds_of


@keras.saving.register_keras_serializable("tests")
class Block(layers.Layer):
    """A layer of layers."""

    def __init__(self, *inner, **options):
        super().__init__(**options)
        self.inner = list(inner)

    def call(self, x):
        for layer in self.inner:
            x = layer(x)
        return x


class Mixes(layers.Layer):
    """Products that no layer makes."""

    def call(self, x):
        flat = ops.reshape(x, (-1, 16, 4))
        flat = ops.einsum("btc,bsc->bts", flat, flat)
        return ops.matmul(flat, ops.reshape(x, (-1, 16, 4)))


class Loops(layers.Layer):
    """As often as the data say."""

    def __init__(self, products=True, **options):
        super().__init__(**options)
        self.products = products

    def call(self, x):
        body = self.product if self.products else lambda y: 2 * y
        return ops.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, body(y)), (0, x))[1]

    def product(self, x):
        return ops.matmul(x, ops.eye(x.shape[-1]))


def model(layer):
    inputs = keras.Input((4, 4, 2))
    x = layer(layers.Conv2D(4, 1, name="conv")(inputs))
    return keras.Model(inputs, layers.Dense(3, name="head")(layers.Flatten()(x)))


CONV, POSITIONS = 16 * 2 * 4, 16
INSIDE = {
    "convolution": (lambda: Block(layers.Conv2D(5, 3, padding="same")), POSITIONS * 9 * 4 * 5),
    "strided": (lambda: Block(layers.Conv2D(5, 3, 2, padding="same")), 4 * 9 * 4 * 5),
    "grouped": (
        lambda: Block(layers.Conv2D(4, 3, groups=2, padding="same")),
        POSITIONS * 9 * 2 * 4,
    ),
    "depthwise": (lambda: Block(layers.DepthwiseConv2D(3, padding="same")), POSITIONS * 9 * 4),
    "transposed": (
        lambda: Block(layers.Conv2DTranspose(5, 3, 2, padding="same")),
        POSITIONS * 9 * 4 * 5,
    ),
    "dense": (lambda: Block(layers.Dense(7)), POSITIONS * 4 * 7),
    "nested": (lambda: Block(Block(layers.Dense(7)), layers.Dense(2)), POSITIONS * (28 + 14)),
    "products": (lambda: Mixes(), 2 * 16 * 16 * 4),
}


@pytest.mark.parametrize("name", INSIDE)
def test_it_is_counted(name):
    build, inside = INSIDE[name]
    whole = model(build())
    cost = tfrcp.CostModel(tfrcp.trace(whole, expand=False))
    (path,) = cost.constant
    assert cost.constant[path] == inside and cost.uncounted == ()
    head = int(np.prod(whole.get_layer("head").kernel.shape))
    assert cost.full.flops == CONV + inside + head
    assert cost.out_of_reach == 1.0


class Blur(layers.Layer):
    """A filter of fixed numbers, the same for every channel."""

    def call(self, x):
        return ops.depthwise_conv(x, ops.ones((3, 3, x.shape[-1], 1)) / 9, padding="same")


def test_each_channel_takes_its_share_of_a_layer_through_which_it_passes_alone():
    graph = tfrcp.trace(model(Blur(name="blur")))
    cost = tfrcp.CostModel(graph)
    assert "blur" in graph.proven and cost.uncounted == () and cost.constant == {}
    head = 16 * 4 * 3
    assert cost.full.flops == CONV + POSITIONS * 9 * 4 + head
    assert cost(np.array([1])).flops.tolist() == [(CONV + POSITIONS * 9 * 4 + head) // 4]


def test_what_cannot_be_counted_is_said():
    cost = tfrcp.CostModel(tfrcp.trace(model(Loops(name="loops"))))
    assert cost.uncounted == ("loops",) and cost.constant == {}
    cost = tfrcp.CostModel(tfrcp.trace(model(Loops(products=False, name="loops"))))
    assert cost.uncounted == ()


def test_a_budget_that_only_the_counted_part_would_meet_is_refused():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="a")(inputs)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="b")(x)
    x = Block(layers.Conv2D(64, 3, padding="same"), layers.Conv2D(64, 3, padding="same"))(x)
    whole = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    graph = tfrcp.trace(whole, expand=False)
    cost = tfrcp.CostModel(graph)
    assert 0.9 < cost.out_of_reach < 1
    with pytest.raises(ValueError, match="cannot be met"):
        tfrcp.search.RandomSampler(tfrcp.SearchSpace(graph), cost, tfrcp.Budget(0.5)).suggest(1)


class Grid(layers.Layer):
    """Adds a product of constants, which TensorFlow computes once."""

    def call(self, x):
        return x + ops.matmul(ops.ones((4, 7)), ops.ones((7, 4)))


def test_products_of_constants_cost_nothing():
    spec = tf.TensorSpec((1, 4, 4, 4))
    assert multiply_adds_of(Grid(), [spec]) == 0
    layer = layers.Dense(4)
    assert multiply_adds_of(lambda x: layer(Grid()(x)), [spec]) == 16 * 4 * 4


def test_products_of_integers_are_counted():
    layer = layers.Dense(6)
    layer.build((None, 4))
    layer.quantize("int8")
    assert multiply_adds_of(layer, [tf.TensorSpec((1, 4))]) == 4 * 6
