"""Before and after, side by side."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrcp
from tests.nightly import mostly_nightly
from tests.scoring.jobs import IMAGES, JOBS, MASKS

JOB_NAMES = sorted(set(JOBS) - {"tagger"})


def pruned_of(model):
    """Half of the channels of every group, compiled as the model."""
    graph = tfrcp.trace(model)
    scores = tfrcp.criteria.get("l1")(model, graph)
    half = [max(1, group.size // 2) for group in graph.prunable]
    return tfrcp.slice_model(model, graph, tfrcp.select(graph, scores, half))


@pytest.fixture(scope="module")
def classifier():
    job = JOBS["sparse classes"]()
    return job.model, pruned_of(job.model), (job.x, job.y)


def test_figures_before_and_after_and_their_ratio(classifier):
    model, pruned, data = classifier
    found = tfrcp.compare(model, pruned, data)
    for figures, network in ((found.before, model), (found.after, pruned)):
        labels = network.predict(data[0], verbose=0).argmax(axis=1)
        assert figures["accuracy"] == pytest.approx((labels == data[1]).mean())
        costs = tfrcp.CostModel(tfrcp.trace(network)).full
        assert (figures["flops"], figures["params"], figures["activations"]) == costs
        assert figures["bytes"] == 4 * network.count_params()
    assert found.ratio["params"] == pruned.count_params() / model.count_params()
    assert found.score.low < found.score.difference < found.score.high
    assert found.latency is None and "latency_ms" not in found.before


def test_it_prints_and_shows_in_a_notebook(classifier):
    model, pruned, data = classifier
    found = tfrcp.compare(model, pruned, data, images="<test> set")
    text, page = str(found), found._repr_html_()
    assert text.splitlines()[0] == found.verdict and "fewer MACs" in found.verdict
    for word in ("accuracy", "MACs per image", "parameters", "size of the weights", "before"):
        assert word in text and word in page
    assert page.count("<tr>") == page.count("</tr>") == 1 + len(found.before)
    assert "<test>" not in page and "&lt;test&gt; set" in page


@pytest.mark.parametrize(
    "name", mostly_nightly(JOB_NAMES, "detector", "loss over the batch", "multi-label")
)
def test_every_job_is_scored_as_keras_does(name):
    job = JOBS[name]()
    pruned = pruned_of(job.model)
    found = tfrcp.compare(job.model, pruned, (job.x, job.y), objective="val_loss")
    for figures, network in ((found.before, job.model), (found.after, pruned)):
        expected = network.evaluate(job.x, job.y, verbose=0, return_dict=True)["loss"]
        assert figures["loss"] == pytest.approx(expected, rel=1e-4)
    if found.score.has_error:
        assert found.score.low <= found.score.difference <= found.score.high


@pytest.mark.parametrize("name", ["sparse classes", "two heads", "siamese", "segmentation"])
def test_without_labels_they_are_compared_by_their_agreement(name):
    job = JOBS[name]()
    found = tfrcp.compare(job.model, pruned_of(job.model), (job.x,), objective="auto")
    assert found.before["agreement"] == pytest.approx(1) and found.after["agreement"] <= 1
    assert name == "sparse classes" or found.after["agreement"] < 1  # the others are distances


def test_costs_alone_need_no_data(classifier):
    model, pruned, _ = classifier
    found = tfrcp.compare(model, pruned)
    assert found.score is None and "accuracy" not in found.before
    assert "fewer MACs" in str(found) and "accuracy" not in str(found)


@pytest.mark.parametrize("name", ["sparse classes", "siamese", "tagger"])
def test_time_where_it_is_asked_for(name):
    job = JOBS[name]()
    found = tfrcp.compare(job.model, pruned_of(job.model), latency=True, batch_size=2)
    assert found.before["latency_ms"] > 0 and found.after["latency_ms"] > 0
    assert found.latency.low <= found.latency.ratio <= found.latency.high
    assert "time per image, batch of 2" in str(found) and "in TensorFlow" in found.verdict


def test_data_of_any_kind_give_the_same(classifier):
    model, pruned, (x, y) = classifier
    expected = tfrcp.compare(model, pruned, (x, y))
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(50)
    assert tfrcp.compare(model, pruned, batches).after == expected.after


def test_the_error_is_that_of_the_named_images(classifier):
    model, _, data = classifier
    for name, error in (("test set", "test set's error"), ("images", "images' error")):
        assert error in tfrcp.compare(model, model, data, images=name).verdict


def test_sequential_networks():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(0)
    data = rng.normal(size=(40, 6, 6, 2)).astype("float32"), np.eye(3)[np.arange(40) % 3]
    found = tfrcp.compare(model, pruned_of(model), data, latency=True, batch_size=2)
    assert found.before["accuracy"] == pytest.approx(model.evaluate(*data, verbose=0)[1])
    assert found.latency is not None
    assert tfrcp.compare(model, pruned_of(model), latency=True, batch_size=2).latency is not None


def test_networks_that_are_not_compiled(classifier):
    model, pruned, data = classifier
    bare = [keras.Model(network.input, network.output) for network in (model, pruned)]
    assert not any(network.compiled for network in bare)
    expected = tfrcp.compare(model, pruned, data).after
    assert tfrcp.compare(*bare, data).after == expected
    assert (
        tfrcp.compare(model, bare[1], data, objective="val_loss").after["loss"]
        == (tfrcp.compare(model, pruned, data, objective="val_loss").after["loss"])
    )
    assert tfrcp.compare(bare[0], pruned, data, objective="val_loss").score.before > 0


def test_what_does_not_go_together_is_refused(classifier):
    model, pruned, data = classifier
    other = JOBS["binary [N]"]().model
    with pytest.raises(ValueError, match="`pruned` must have inputs and outputs of the shapes"):
        tfrcp.compare(model, other, data)
    with pytest.raises(ValueError, match="`pruned` must be a built keras.Model"):
        tfrcp.compare(model, "pruned.keras", data)
    with pytest.raises(ValueError, match="must come with labels.*'val_loss'|needs labels"):
        tfrcp.compare(model, pruned, data[0], objective="val_loss")
    job = JOBS["regularised"]()
    pruned = pruned_of(job.model)
    bare = keras.Model(pruned.input, pruned.output)
    with pytest.raises(ValueError, match="penalties of its own weights: compile it"):
        tfrcp.compare(job.model, bare, (job.x, job.y))


def test_penalties_of_the_weights_are_those_of_each_network():
    job = JOBS["regularised"]()
    pruned = pruned_of(job.model)
    found = tfrcp.compare(job.model, pruned, (job.x, job.y))
    assert found.after["loss"] == pytest.approx(pruned.evaluate(job.x, job.y, verbose=0), rel=1e-4)
    assert not found.score.has_error and np.isfinite(found.score.difference)


@pytest.mark.parametrize("by_name", [True, False])
def test_networks_do_not_share_the_state_of_a_metric(by_name):
    model, other = JOBS["segmentation"]().model, JOBS["segmentation"]().model
    for network in (model, other):
        metric = keras.metrics.MeanIoU(3, sparse_y_pred=False, name="iou")
        network.compile("sgd", model.loss, metrics=[metric])
    other.set_weights([0.5 * weight[::-1] for weight in other.get_weights()])
    data = (IMAGES[:60], MASKS[:60])
    objective = "val_iou" if by_name else keras.metrics.MeanIoU(3, sparse_y_pred=False)
    found = tfrcp.compare(model, other, data, objective=objective).score
    expected = [n.evaluate(*data, verbose=0, return_dict=True)["iou"] for n in (model, other)]
    assert expected[0] != expected[1]
    assert [found.before, found.after] == pytest.approx(expected, abs=1e-6)
