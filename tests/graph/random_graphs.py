"""Random networks: composes all the supported layers and operators, and holds them against it all.

A recipe is a list of steps (piece, first, second, width, variant): each makes a tensor from one or
two of those before. All tensors of a network have the same positions, so that any two can be
joined.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from hypothesis import strategies as st
from keras import layers

import tfrcp
from tests.graph.pieces import LACKING, PIECES
from tests.graph.pieces.kit import Kit
from tests.references import (
    assert_close,
    count_cost,
    counts_of,
    flat,
    full_masks,
    images_for,
    random_masks,
    randomize,
    removed_outputs,
)
from tfrcp.graph.program import Program
from tfrcp.graph.weights import read_weights, slice_weights
from tfrcp.scoring.running import run_model

#: Wider tensors are not read by further pieces.
MOST = 12
#: Bounds of the numbers in a step, the upper ones excluded.
RANGES = ((0, 3), (0, 6), (2, 6), (0, 1000))
recipes = st.lists(
    st.tuples(st.sampled_from(sorted(PIECES)), *(st.integers(a, b - 1) for a, b in RANGES)),
    min_size=3,
    max_size=9,
)
#: Rank, whether channels come first, number of inputs, head, further outputs, dtype policy.
NETWORKS = (
    [1, 2, 2, 3],
    [False, False, False, True],
    [1, 2],
    ["flatten", "pool", "both"],
    ["none", "none", "early", "raw", "tree"],
    [*["float32"] * 5, "mixed_float16"],
)
networks = st.tuples(*map(st.sampled_from, NETWORKS))


@functools.cache
def channels_first_works():
    """Whether this machine's kernels convolve with channels first."""
    try:
        layers.Conv2D(1, 1, data_format="channels_first")(np.ones((1, 2, 3, 3), "float32"))
    except tf.errors.UnimplementedError:
        return False
    return True


def build(recipe, network):
    """A model that makes one tensor after the other from one or two of those before."""
    rank, first, inputs, head, further, policy = network
    # TensorFlow convolves with channels first in single precision only, on some CPUs.
    kit = Kit(rank, first and policy == "float32" and channels_first_works())
    with _policy(policy):
        images = [kit.image(2 + i, f"image{i}") for i in range(inputs)]
        tensors = [PIECES["conv bn"](kit, x, x, 4, f"stem{i}") for i, x in enumerate(images)]
        for number, (piece, i, j, width, variant) in enumerate(recipe):
            x, y = tensors[-1 - i % len(tensors)], tensors[j % len(tensors)]
            piece = "conv" if LACKING.get(piece, lambda kit: False)(kit) else piece
            if piece == "pool and up" and rank == 3 and policy != "float32":
                piece = "conv"  # TensorFlow has no such pooling in half precision on CPUs
            if max(kit.width(x), kit.width(y)) <= MOST:
                kit.random = np.random.default_rng(variant)
                tensors.append(PIECES[piece](kit, x, y, width, f"layer{number}"))
        return keras.Model(images, _outputs(kit, tensors, head, further))


def _outputs(kit, tensors, head, further):
    """Heads at the end, and what is read of tensors before it."""
    last, middle, found = tensors[-1], tensors[len(tensors) // 2], []
    if head != "pool":
        found.append(layers.Dense(3, name="flat_head")(layers.Flatten()(last)))
    if head != "flatten":
        pooled = kit.layer("GlobalAveragePooling#D")(last)
        found.append(layers.Dense(2, name="head", dtype="float32")(pooled))
    if further == "raw":
        found.append(middle)
    if further in ("early", "tree"):
        early = kit.layer("GlobalMaxPooling#D")(middle)
        found.append(layers.Dense(2, name="early_head", dtype="float32")(early))
    if further == "tree":
        return {"main": found[0], "others": [{"b": x} for x in found[1:]]}
    return found if len(found) > 1 else found[0]


@contextlib.contextmanager
def _policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    yield
    keras.config.set_dtype_policy(before)


def examine(recipe, network, seed, *, choices=2):
    """Prunes a random network at random and holds all that tfrcp says of it against each other.

    Returns:
        The number of prunable channels.
    """
    model = build(recipe, network)
    randomize(model, seed)
    tolerance = 1e-4 if network[-1] == "float32" else 5e-2
    graph, images = tfrcp.trace(model), images_for(model)
    weights, program, cost = read_weights(graph, model), Program(graph), tfrcp.CostModel(graph)
    before = flat(run_model(model)(images))
    whole = tfrcp.slice_model(model, graph, full_masks(graph))
    if all(np.isfinite(x).all() for x in before):
        assert_close(flat(run_model(whole)(images)), before, tolerance)
    counted = not graph.unknown
    # Composite layers are opened in `whole`, which has the outputs of the original.
    if counted and tuple(cost.full) != count_cost(whole):
        raise AssertionError(f"cost {tuple(cost.full)}, counted {count_cost(whole)}")
    for number in range(choices):
        masks = random_masks(graph, seed + number)
        expected = removed_outputs(model, graph, masks, images)
        if not all(np.isfinite(x).all() for x in expected):
            break  # Half precision overflows.
        pruned = tfrcp.slice_model(model, graph, masks)
        arrays = slice_weights(graph, weights, masks)
        found = flat(run_model(pruned)(images))
        assert_close(found, expected, tolerance)
        assert_close(flat(program.run(arrays, images)), expected, tolerance)
        assert_close(flat(program.run(program.fold(arrays), images)), expected, tolerance)
        costs = tuple(int(n[0]) for n in cost(counts_of(graph, masks)))
        if counted and costs != count_cost(pruned):
            raise AssertionError(f"cost {costs}, counted {count_cost(pruned)}")
        if (seed + number) % 5 == 0:
            assert_close(flat(run_model(_loaded(pruned))(images)), found, tolerance)
    return int(np.sum(graph.full))


def _loaded(model):
    """The model, saved and loaded."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        return keras.models.load_model(Path(folder) / "model.keras")
