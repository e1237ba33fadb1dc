"""Whatever a model is compiled for is trained as Keras would train it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfrcp
from tests.nightly import mostly_nightly
from tests.scoring.jobs import JOBS, compiled
from tfrcp import training
from tfrcp.data.trees import TreeSplit
from tfrcp.scoring import objectives
from tfrcp.training.distillation import distillation, logits, output_distance

RECIPE = training.Recipe(
    epochs=1, batch_size=32, learning_rate=0.05, augment=None, weight_decay=0.01
)


def split(job, start, stop):
    cut = lambda tree: keras.tree.map_structure(lambda a: a[start:stop], tree)  # noqa: E731
    return TreeSplit((cut(job.x), cut(job.y)))


def by_keras(job, recipe, batches):
    twin = JOBS_BUILD[job]().model
    config = dict(twin._compile_config.config)
    steps = len(batches)
    twin.compile(**{**config, "optimizer": recipe.optimizer(twin, steps)})
    losses = [twin.train_on_batch(*batch) for batch in batches]
    return twin, losses


JOBS_BUILD = {
    name: JOBS[name]
    for name in (
        "one-hot classes",
        "binary [N]",
        "multi-label",
        "regression [N]",
        "regularised",
        "segmentation with ignored pixels",
        "loss over the batch",
        "autoencoder",
        "two heads",
        "detector",
        "tagger",
        "siamese",
    )
}


@pytest.mark.parametrize(
    "name",
    mostly_nightly(
        JOBS_BUILD, "segmentation with ignored pixels", "loss over the batch", "two heads", "tagger"
    ),
)
def test_weights_are_those_of_keras(name):
    job = JOBS_BUILD[name]()
    train, holdout = split(job, 0, 80), split(job, 200, 260)
    twin, _ = by_keras(name, RECIPE, list(train.dataset(32)))
    recipe = training.Recipe(**{**RECIPE.__dict__, "batch_norm_images": 0})
    history = training.fit(job.model, train.batches(32), holdout.batches(32), recipe, verbose=False)
    for ours, theirs in zip(job.model.weights, twin.weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-3, atol=2e-4)
    loss = job.model.evaluate(*holdout.data, batch_size=32, verbose=0, return_dict=True)["loss"]
    assert history["val_loss"][-1] == pytest.approx(loss, abs=1e-4)


def test_statistics_are_those_of_the_weights():
    job = JOBS["regression [N]"]()
    train = split(job, 0, 80)
    training.fit(job.model, train.batches(32), None, RECIPE, verbose=False)
    before = job.model.get_weights()
    tfrcp.recalibrate_batch_norm(job.model, train.data[0])
    for old, new in zip(before, job.model.get_weights(), strict=True):
        np.testing.assert_allclose(old, new, rtol=1e-4, atol=1e-5)


def test_frozen_batch_norms_stay():
    job = JOBS["regression [N]"]()
    job.model.get_layer("norm0").trainable = False
    frozen = job.model.get_layer("norm0").moving_mean.numpy()
    free = job.model.get_layer("norm1").moving_mean.numpy()
    training.fit(job.model, split(job, 0, 80).batches(32), None, RECIPE, verbose=False)
    np.testing.assert_array_equal(frozen, job.model.get_layer("norm0").moving_mean)
    assert not np.allclose(free, job.model.get_layer("norm1").moving_mean)


def test_behind_a_frozen_batch_norm_statistics_are_of_what_it_gives():
    job = JOBS["regression [N]"]()
    model = job.model
    model.get_layer("norm0").trainable = False
    x = split(job, 0, 80).data[0]
    training.fit(model, split(job, 0, 80).batches(32), None, RECIPE, verbose=False)
    norm = model.get_layer("norm1")
    seen = keras.Model(model.input, norm.input)(x, training=False).numpy()
    axes = tuple(range(seen.ndim - 1))
    np.testing.assert_allclose(norm.moving_mean, seen.mean(axes), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, seen.var(axes), rtol=1e-3, atol=1e-4)


def test_the_callback_serves_keras_s_fit():
    job = JOBS["regression [N]"]()
    data = split(job, 0, 80).data
    callback = tfrcp.RecalibrateBatchNorm(data)
    history = job.model.fit(
        *data, validation_data=data, epochs=2, verbose=0, callbacks=[callback]
    ).history
    loss = job.model.evaluate(*data, verbose=0)
    assert history["val_loss"][-1] == pytest.approx(loss, abs=1e-5)
    before = job.model.get_weights()
    tfrcp.recalibrate_batch_norm(job.model, data[0])
    for old, new in zip(before, job.model.get_weights(), strict=True):
        np.testing.assert_allclose(old, new, rtol=1e-4, atol=1e-5)


def test_the_best_epoch_goes_by_the_objective():
    job = JOBS["binary [N]"]()
    job.model.compile("sgd", "binary_crossentropy", metrics=["accuracy", "auc"])
    recipe = training.Recipe(
        epochs=4, batch_size=32, learning_rate=0.5, augment=None, keep_best=True
    )
    holdout = split(job, 200, 260)
    objective = objectives.get(job.model, "val_auc")
    history = training.fit(
        job.model,
        split(job, 0, 80).batches(32),
        holdout.batches(32),
        recipe,
        objective=objective,
        verbose=False,
    )
    assert set(history) == {"loss", "seconds", "val_loss", "val_accuracy", "val_auc"}
    found = job.model.evaluate(*holdout.data, verbose=0, return_dict=True)
    assert found["auc"] == pytest.approx(max(history["val_auc"]), abs=1e-5)


def test_distillation_of_outputs_that_are_no_class_scores():
    wanted = np.random.default_rng(0).normal(size=(9, 4)).astype("float32")
    assert float(output_distance(wanted, wanted)) == 0
    mean = np.broadcast_to(wanted.mean(axis=0), wanted.shape)
    assert float(output_distance([wanted, wanted], [mean, mean])) == pytest.approx(1, rel=1e-4)
    job, teacher = JOBS["two heads"](), JOBS["two heads"]().model
    recipe = training.Recipe(epochs=1, batch_size=32, augment=None, distillation=1.0)
    training.fit(
        job.model, split(job, 0, 64).batches(32), None, recipe, teacher=teacher, verbose=False
    )


def test_a_teacher_does_not_weigh_more_in_a_small_batch():
    def loss_of(count):
        job, teacher = JOBS["regression [N]"](), JOBS["regression [N]"]().model
        teacher.set_weights([weight + 0.05 for weight in teacher.get_weights()])
        recipe = training.Recipe(
            epochs=1, batch_size=32, learning_rate=1e-9, augment=None, distillation=0.5
        )
        data = split(job, 0, count).batches(32)
        return training.fit(job.model, data, None, recipe, teacher=teacher, verbose=False)["loss"]

    assert loss_of(33)[0] < 2 * loss_of(32)[0]


@pytest.mark.parametrize("name", ["one-hot classes", "sparse classes"])
def test_class_scores_are_imitated_by_their_divergence(name):
    job, teacher = JOBS[name](), JOBS[name]().model
    teacher.set_weights([weight + 0.05 for weight in teacher.get_weights()])
    x = split(job, 0, 16).data[0]
    recipe = training.Recipe(
        epochs=1, batch_size=16, augment=None, distillation=1.0, temperature=2.0
    )
    data = split(job, 0, 16).batches(16)
    history = training.fit(job.model, data, None, recipe, teacher=teacher, verbose=False)
    taught = logits(teacher, teacher(x, training=False))
    student = logits(JOBS[name]().model, JOBS[name]().model(x, training=True))
    expected = float(np.mean(distillation(taught, student, 2.0)))
    assert history["loss"][0] == pytest.approx(expected, rel=1e-3)


def test_fewer_examples_than_parts_are_trained_on():
    job = JOBS["regression [N]"]()
    recipe = training.Recipe(epochs=1, batch_size=32, augment=None, accumulate=4)
    history = training.fit(job.model, split(job, 0, 34).batches(32), None, recipe, verbose=False)
    assert np.isfinite(history["loss"][0])
    job.model.compile("sgd", keras.losses.MeanSquaredError(reduction="sum"))
    with pytest.raises(ValueError, match="`accumulate` above 1 needs losses that are means"):
        training.fit(job.model, split(job, 0, 34).batches(32), None, recipe, verbose=False)


def test_half_precision_takes_a_function_that_keras_cannot_write_down():
    job = JOBS["regression [N]"]()
    job.model.compile("sgd", lambda y, outputs: keras.ops.abs(y - outputs))
    recipe = training.Recipe(epochs=1, batch_size=32, augment=None, precision="mixed_bfloat16")
    history = training.fit(job.model, split(job, 0, 64).batches(32), None, recipe, verbose=False)
    assert np.isfinite(history["loss"][0]) and job.model.compiled


def test_what_does_not_fit_is_refused():
    job = JOBS["two heads"]()
    bad = tf.data.Dataset.from_tensor_slices((job.x[:8], job.y[0][:8])).batch(4)
    with pytest.raises(ValueError, match="do not fit what .* is compiled for"):
        training.fit(job.model, bad, bad, RECIPE, verbose=False)
    inputs = keras.Input((3,))
    plain = keras.Model(inputs, [layers.Dense(2)(inputs), layers.Dense(2)(inputs)])
    with pytest.raises(ValueError, match="one output.* compile it first"):
        training.fit(plain, bad, None, RECIPE, verbose=False)
    own = compiled(inputs, layers.Dense(2)(inputs), "mse")
    with pytest.raises(ValueError, match="`label_smoothing` is for classifiers"):
        smooth = training.Recipe(epochs=1, augment=None, label_smoothing=0.1)
        training.fit(own, bad, None, smooth, verbose=False)
