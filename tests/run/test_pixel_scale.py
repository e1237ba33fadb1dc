"""Images of another scale than the network knows, and other data as users have them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrcp
from tests.small_run import config
from tfrcp.run import Pipeline

CLASSES = 4


def bright(count, seed):
    """uint8 images of a shade for each class, [count, 8, 8, 3], and labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    shades = 20 + 60 * labels[:, None, None, None] + random.integers(0, 20, (count, 8, 8, 3))
    return shades.astype("uint8"), labels


@pytest.fixture(scope="module")
def rescaling():
    """A network that scales pixels itself, and knows shades."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    for filters in (8, 16):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(CLASSES)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, metrics=["accuracy"])
    images, labels = bright(400, 0)
    model.fit(images.astype("float32"), labels, batch_size=40, epochs=12, verbose=0)
    tfrcp.recalibrate_batch_norm(model, images.astype("float32"))
    assert model.evaluate(images.astype("float32"), labels, verbose=0)[1] > 0.8
    return model


@pytest.fixture
def inputs(rescaling, tmp_path):
    x, y = bright(600, 1)
    np.savez(
        tmp_path / "data.npz", x_train=x[:500], y_train=y[:500], x_test=x[500:], y_test=y[500:]
    )
    keras.Model(rescaling.input, rescaling.output).save(tmp_path / "base.keras")
    return tmp_path


def job(inputs, **more):
    more = {"data__holdout": 0.3, "train__epochs": 0, "finetune__epochs": 1} | more
    return Pipeline(config(inputs, **more), inputs / "run")


def test_images_divided_twice_are_an_error_with_both_scales(inputs):
    pipeline = job(inputs)
    pipeline.train()
    message = r"no better than guessing among 4 .*from 0\.\d+ to .*expects 0 to 255.*data.scale=255"
    with pytest.raises(ValueError, match=message):
        pipeline.search()
    assert not (inputs / "run" / "pruned.keras").exists()


def test_the_scale_of_the_data_can_be_set(inputs):
    pipeline = job(inputs, data__scale=255.0)
    assert 200 < pipeline.data.holdout.arrays()[0].max() <= 255
    pipeline.train()
    pipeline.search()
    assert pipeline.workdir.metrics["search"]["baseline_score"] > 0.8


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"data__scale": 0.0}, "`scale` must be a number in .0, inf."),
        ({"data__scale": "big"}, "`config.data.scale` must be a number"),
        ({"data__scale": 255.0, "data__mean": (0.5, 0.5, 0.5)}, "exclude each other"),
    ],
)
def test_bad_scales(inputs, more, message):
    with pytest.raises(ValueError, match=message):
        job(inputs, **more)


def prune(model, x, y, **options):
    options = {"max_trials": 2, "tolerance": 0.2, "verbose": False} | options
    return tfrcp.prune(model, x, y, **options)


def test_in_python_too(rescaling, capsys):
    x, y = bright(600, 2)
    with pytest.raises(ValueError, match=r"from 0\.\d+ to 1?0?\.?\d+; its Rescaling layer expects"):
        prune(rescaling, x / np.float32(255), y)
    untrained = keras.models.clone_model(rescaling)
    untrained.set_weights([np.zeros_like(weight) for weight in untrained.get_weights()])
    prune(untrained, x.astype("float32"), y, verbose=True)
    assert "no better than guessing" in capsys.readouterr().out
    prune(rescaling, x.astype("float32"), y, verbose=True)
    assert "guessing" not in capsys.readouterr().out


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_labels_may_be_whole_floats(rescaling, shape):
    x, y = bright(120, 3)
    x = x.astype("float32")
    expected = prune(rescaling, x, y)
    found = prune(rescaling, x, y.astype("float32").reshape(shape))
    for ours, theirs in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_single_examples_say_what_would_do(rescaling):
    x, y = bright(120, 3)
    x = x.astype("float32")
    single = tf.data.Dataset.from_tensor_slices((x, y))
    with pytest.raises(ValueError, match=r"pass batches, such as data.batch\(32\)"):
        prune(rescaling, single, None)
    images = tf.data.Dataset.from_tensor_slices(x)
    with pytest.raises(ValueError, match=r"pass batches, such as data.batch\(32\)"):
        prune(rescaling, images, None, validation_data=(x, y))
    with pytest.raises(ValueError, match=r"a single one is x\[None\]"):
        prune(rescaling, x[0], None, validation_data=(x, y))


@pytest.mark.parametrize("label_mode", ["int", "categorical"])
def test_folders_read_by_keras(rescaling, tmp_path, label_mode):
    x, y = bright(60, 4)
    for index, (image, label) in enumerate(zip(x, y, strict=True)):
        (tmp_path / str(label)).mkdir(exist_ok=True)
        keras.utils.save_img(tmp_path / str(label) / f"{index}.png", image, scale=False)
    options = dict(validation_split=0.4, seed=0, image_size=(8, 8), batch_size=16, verbose=False)
    train, holdout = keras.utils.image_dataset_from_directory(
        tmp_path, label_mode=label_mode, subset="both", **options
    )
    model = keras.models.clone_model(rescaling)
    model.set_weights(rescaling.get_weights())
    loss = "sparse_categorical_crossentropy" if label_mode == "int" else "categorical_crossentropy"
    model.compile("sgd", getattr(keras.losses, loss), metrics=["accuracy"])
    pruned = prune(model, train, None, validation_data=holdout, objective="val_accuracy")
    assert tfrcp.compare(model, pruned, holdout).before["accuracy"] > 0.8
