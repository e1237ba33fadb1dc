"""Criteria that look at data work for any job, by the model's own loss."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrcp
from tests.scoring.jobs import JOBS

NAMES = ("regression [N]", "two heads", "detector", "loss over the batch", "siamese", "autoencoder")


def part(tree, stop):
    return keras.tree.map_structure(lambda array: array[:stop], tree)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "criterion", ["taylor", "kl_divergence", "empirical_sensitivity", "optimal_brain_surgeon"]
)
def test_every_channel_has_a_score(name, criterion):
    job = JOBS[name]()
    graph = tfrcp.trace(job.model)
    config = {"class_name": criterion, "config": {"images": 40, "verbose": False}}
    scores = tfrcp.criteria.get(config)(job.model, graph, (part(job.x, 40), part(job.y, 40)))
    assert set(scores) == {group.name for group in graph.prunable}
    for score in scores.values():
        assert np.isfinite(score).all() and score.max() > 0


def test_taylor_is_the_slope_of_the_models_own_loss():
    job = JOBS["two heads"]()
    graph, x, y = tfrcp.trace(job.model), part(job.x, 20), part(job.y, 20)
    found = tfrcp.criteria.Taylor(images=20, batch_size=20, verbose=False)(job.model, graph, (x, y))
    norm = job.model.get_layer("norm1")
    with tf.GradientTape() as tape:
        outputs = job.model(x, training=False)
        loss = job.model.compute_loss(None, y, outputs, None, training=False)
    slopes = tape.gradient(loss, [norm.gamma.value, norm.beta.value])
    expected = sum(w * s for w, s in zip((norm.gamma.value, norm.beta.value), slopes, strict=True))
    np.testing.assert_allclose(found["conv1"], np.square(expected), rtol=1e-3, atol=1e-9)


def test_what_has_no_loss_is_told_so():
    job = JOBS["two heads"]()
    plain = keras.Model(job.model.inputs, job.model.outputs)
    with pytest.raises(ValueError, match="compiled with its loss"):
        tfrcp.criteria.get("taylor")(plain, tfrcp.trace(plain), (job.x, job.y))
