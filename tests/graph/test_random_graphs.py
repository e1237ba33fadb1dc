"""Random graphs of the known pieces: sliced model, masked original and program agree."""

import keras
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

import tfrcp
from tests.networks import conv, image, norm
from tests.references import (
    assert_close,
    count_cost,
    counts_of,
    flat,
    images_for,
    masked_outputs,
    random_masks,
    randomize,
)
from tfrcp.graph.program import Program, read_weights, slice_weights

PIECES = {
    "conv": lambda x, y, n, name: conv(n, name)(x),
    "conv bn": lambda x, y, n, name: norm(f"{name}_bn")(conv(n, name, use_bias=False)(x)),
    "bn": lambda x, y, n, name: norm(name)(x),
    "relu": lambda x, y, n, name: layers.ReLU(name=name)(x),
    "twice": lambda x, y, n, name: _twice(x, n, name),
    "depthwise": lambda x, y, n, name: layers.DepthwiseConv2D(
        3, depth_multiplier=1 + n % 2, padding="same", name=name
    )(x),
    "add": lambda x, y, n, name: layers.Add(name=f"{name}_add")([x, _as_wide(y, x, name)]),
    "subtract": lambda x, y, n, name: _as_wide(y, x, name) - x * 0.5,
    "concatenate": lambda x, y, n, name: layers.Concatenate(name=name)([x, y]),
    "gate": lambda x, y, n, name: x * _gate(y, x.shape[-1], name),
    "pad": lambda x, y, n, name: ops.pad(x, [[0, 0], [0, 0], [0, 0], [n % 2, 1]]),
    "mirror": lambda x, y, n, name: x[..., ::-1],
    "run": lambda x, y, n, name: x[..., min(n % 2, x.shape[-1] - 1) :],
    "every other": lambda x, y, n, name: x[..., ::2],
    "swap": lambda x, y, n, name: _swap(x, n),
    "steps": lambda x, y, n, name: _steps(x, n, name),
    "permute": lambda x, y, n, name: layers.Permute((2, 1, 3), name=name)(x),
}


def _twice(x, filters, name):
    shared = conv(filters, name, activation="relu")
    return shared(shared(conv(filters, f"{name}_first")(x)))


def _as_wide(y, x, name):
    return y if y.shape[-1] == x.shape[-1] else conv(x.shape[-1], name)(y)


def _gate(y, channels, name):
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(y)
    return conv(channels, name, 1, activation="sigmoid")(y)


def _swap(x, n):
    if x.shape[-1] < 3:
        return x
    left, right = ops.split(x, [1 + n % 2], axis=-1)
    return ops.concatenate([ops.relu(right), left], axis=-1)


def _steps(x, units, name):
    x = layers.Dense(units, name=name)(layers.Reshape((16, -1), name=f"{name}_steps")(x))
    return ops.reshape(x, (-1, 4, 4, units))


def build(recipe, flatten):
    """A model that makes one tensor after the other from one or two of those before."""
    tensors = [image(4, 4, 2)]
    for number, (piece, first, second, width) in enumerate(recipe):
        x, y = tensors[-1 - first % len(tensors)], tensors[second % len(tensors)]
        if x.shape[-1] <= 12:
            tensors.append(PIECES[piece](x, y, width, f"layer{number}"))
    join = layers.Flatten() if flatten else layers.GlobalAveragePooling2D()
    return keras.Model(tensors[0], layers.Dense(3, name="head")(join(tensors[-1])))


step = st.tuples(
    st.sampled_from(sorted(PIECES)), st.integers(0, 2), st.integers(0, 5), st.integers(2, 5)
)


@settings(max_examples=15, derandomize=True, deadline=None, database=None)
@given(st.lists(step, min_size=3, max_size=9), st.booleans(), st.integers(0, 100))
def test_random_graphs(recipe, flatten, seed):
    model = build([("conv bn", 0, 0, 4), *recipe], flatten)
    randomize(model, seed)
    graph, images = tfrcp.trace(model), images_for(model)
    weights, program, cost = read_weights(graph, model), Program(graph), tfrcp.CostModel(graph)
    assert tuple(cost.full) == count_cost(model)
    for number in range(2):
        masks = random_masks(graph, seed + number)
        expected = masked_outputs(model, graph, masks, images)
        pruned = tfrcp.slice_model(model, graph, masks)
        arrays = slice_weights(graph, weights, masks)
        assert_close(flat(pruned(images)), expected)
        assert_close(flat(program.run(arrays, images)), expected)
        assert_close(flat(program.run(program.fold(arrays), images)), expected)
        found = cost(counts_of(graph, masks))
        assert tuple(int(n[0]) for n in found) == count_cost(pruned)


def test_every_piece_leaves_something_to_prune():
    for piece in PIECES:
        graph = tfrcp.trace(build([("conv", 0, 0, 4), (piece, 0, 1, 3), ("conv", 0, 0, 4)], False))
        assert np.sum(graph.full) >= 4, piece
