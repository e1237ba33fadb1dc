"""Layers on tokens: embeddings, and the heads of attention."""

import keras
import numpy as np
from keras import layers

import tfrcp
from tests.graph.test_every_layer import FOLLOWED, build
from tests.references import (
    assert_close,
    flat,
    masked_outputs,
)
from tfrcp.graph.program import Program
from tfrcp.graph.weights import read_weights, slice_weights


def test_embedding():
    inputs = keras.Input((6,), dtype="int32", name="tokens")
    x = layers.Conv1D(5, 3, name="a")(layers.Embedding(10, 4, name="table")(inputs))
    model = keras.Model(inputs, layers.Dense(3, name="head")(layers.Flatten()(x)))
    graph = tfrcp.trace(model)
    assert [group.name for group in graph.prunable] == ["table", "a"]
    masks = {"table": np.array([True, False, True, True]), "a": np.arange(5) > 1}
    images = np.random.default_rng(0).integers(0, 10, (3, 6))
    expected = masked_outputs(model, graph, masks, images)
    assert_close(flat(tfrcp.slice_model(model, graph, masks)(images)), expected)
    arrays = slice_weights(graph, read_weights(graph, model), masks)
    assert_close(flat(Program(graph).run(arrays, images)), expected)


def test_embedding_that_hides_a_token_is_frozen():
    inputs = keras.Input((6,), dtype="int32", name="tokens")
    x = layers.LSTM(4)(layers.Embedding(10, 4, mask_zero=True, name="table")(inputs))
    model = keras.Model(inputs, layers.Dense(3, name="head")(x))
    graph = tfrcp.trace(model)
    assert not graph.prunable
    images = np.random.default_rng(0).integers(0, 2, (3, 6))
    pruned = tfrcp.slice_model(model, graph, {})
    assert_close(flat(pruned(images)), flat(model(images)), 1e-6)
    assert tfrcp.CostModel(graph).full.flops == 6 * 128 + 12


def test_heads_go_with_the_queries_that_read_them():
    graph = tfrcp.trace(build(*FOLLOWED["GroupQueryAttention"]))
    heads = next(group for group in graph.prunable if group.size == 2)
    queries = next(piece for piece in heads.slices if piece.weight == "query/kernel")
    assert queries.channel_of.tolist() == [0, 0, 1, 1]
    graph = tfrcp.trace(build(*FOLLOWED["GroupQueryAttention multi-query"]))
    assert [group.size for group in graph.prunable] == [4, 4]
