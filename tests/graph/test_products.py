"""Attention written by hand: heads are pruned, or channels of every head."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfrcp
from tests.graph.pattern_check import check_slices
from tests.graph.test_patterns import Own
from tests.references import randomize


class Attention(Own):
    """Projections to 3 heads of 4 channels; `attend` does the rest.

    Args:
        kind: Name of the method that does it.
        fused: Whether one dense layer makes queries, keys and values.
    """

    def __init__(self, kind="plain", fused=False, **options):
        super().__init__(**options)
        self.kind, self.fused = kind, fused

    def build(self, shape):
        widths = {"qkv": 36} if self.fused else dict.fromkeys("qkv", 12)
        for name, width in {**widths, "out": shape[-1]}.items():
            self.part(layers.Dense, width, name=f"to_{name}")
            vars(self)[f"to_{name}"].build((*shape[:-1], 12 if name == "out" else shape[-1]))
        if self.kind in ("relative", "biased"):
            self.own("table", 5, 5, 4) if self.kind == "relative" else self.own("bias", 3, 1, 1)
        if self.kind == "scaled":
            self.own("scale", 4)

    def call(self, x):
        batch, length = ops.shape(x)[0], x.shape[1]
        if self.fused:
            q, k, v = ops.split(self.to_qkv(x), 3, axis=-1)
        else:
            q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
        q, k, v = (ops.reshape(y, (batch, length, 3, 4)) for y in (q, k, v))
        return self.to_out(ops.reshape(getattr(self, self.kind)(q, k, v), (batch, length, 12)))

    def plain(self, q, k, v):
        scores = ops.softmax(ops.einsum("bthd,bshd->bhts", q, k) * 0.5)
        return ops.einsum("bhts,bshd->bthd", scores, v)

    def rotary(self, q, k, v):
        angles = np.arange(5)[:, None] * np.tile([1.0, 0.1], 2)
        sin, cos = (f(angles)[None, :, None].astype("float32") for f in (np.sin, np.cos))
        q, k = (x * cos + ops.concatenate([-x[..., 2:], x[..., :2]], axis=-1) * sin for x in (q, k))
        return self.plain(q, k, v)

    def rotary_halves(self, q, k, v):
        angles = (np.arange(5)[:, None] * np.array([1.0, 0.1]))[None, :, None].astype("float32")
        sin, cos = ops.sin(angles), ops.cos(angles)

        def turn(x):
            a, b = ops.split(x, 2, axis=-1)
            return ops.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)

        return self.plain(turn(q), turn(k), v)

    def operation(self, q, k, v):
        return ops.dot_product_attention(q, k, v)

    def relative(self, q, k, v):
        scores = ops.einsum("bthd,bshd->bhts", q, k) + ops.einsum("bthd,tsd->bhts", q, self.table)
        return ops.einsum("bhts,bshd->bthd", ops.softmax(scores), v)

    def biased(self, q, k, v):
        q, k, v = (ops.transpose(x, (0, 2, 1, 3)) for x in (q, k, v))
        scores = ops.softmax(ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) * self.bias)
        return ops.transpose(ops.matmul(scores, v), (0, 2, 1, 3))

    def scaled(self, q, k, v):
        return self.plain(q * self.scale, k * self.scale, v)

    def over_heads(self, q, k, v):
        scores = ops.softmax(ops.einsum("bthd,bshd->bhts", q, k), axis=1)
        return ops.einsum("bhts,bshd->bthd", scores, v)


WIDTHS, HEADS = [4, 4], [3]
CASES = {
    "plain": WIDTHS,
    "rotary": HEADS,
    "rotary_halves": HEADS,
    "operation": HEADS,
    "relative": WIDTHS,
    "biased": WIDTHS,
    "scaled": WIDTHS,
    "over_heads": WIDTHS,
}


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", CASES)
def test_attention(kind, fused, tmp_path):
    x = inputs = keras.Input((5, 6))
    x = layers.Dense(6, name="before")(x)
    x = x + Attention(kind, fused, name="attention")(layers.LayerNormalization()(x))
    model = keras.Model(inputs, layers.Dense(2, name="head")(x[:, 0]))
    randomize(model)
    for variable in model.variables:
        if variable.name == "bias" and variable.ndim == 3:
            variable.assign(np.random.default_rng(1).normal(size=variable.shape))
    graph, images = tfrcp.trace(model), np.random.default_rng(0).normal(size=(3, 5, 6))
    images = images.astype("float32")
    sizes = {g.name: g.size for g in graph.prunable}
    assert sizes.pop("before") == 6
    assert sorted(sizes.values()) == CASES[kind], graph.explain()
    check_slices(model, graph, images, tmp_path)


class Codes(Own):
    """Distances to the rows of a code book, which is read twice, by `x[None]` as well."""

    def build(self, shape):
        self.own("book", shape[-1], 7)

    def call(self, x):
        squares = ops.sum(ops.square(self.book), axis=0)
        return squares - 2 * ops.matmul(x, self.book) + ops.sum(self.book[None], axis=(1, 2))


def test_weight_that_is_read_twice_is_no_kernel():
    inputs = keras.Input((5,))
    x = Codes(name="codes")(layers.Dense(6, name="before")(inputs))
    graph = tfrcp.trace(keras.Model(inputs, layers.Dense(3, name="head")(x)))
    assert not graph.calls.closed and not graph.prunable
