"""Exports that are compared with the network, and refused."""

import os

import keras
import numpy as np
import pytest

from tfrcp.deployment import export


def test_accuracy_that_is_lost_is_refused(model, tmp_path, wrong_writer):
    images = np.random.default_rng(0).random((200, 6, 6, 3))
    labels = np.asarray(model(images)).argmax(axis=1)
    wrong_writer(
        lambda outputs: np.where(np.arange(len(outputs)) < 2, -1.0, 1.0)[:, None] * outputs
    )
    options = dict(sample=images, tolerance=10.0)
    result = export(model, tmp_path / "two", labels=labels, **options)
    assert (result.model_accuracy, result.accuracy) == (1.0, 0.99)
    hot = np.eye(2)[labels]
    with pytest.raises(ValueError, match=r"99.0 % accuracy on 200 images, the model 100.0 %"):
        export(model, tmp_path / "out", labels=hot, accuracy_tolerance=0.004, **options)
    assert os.listdir(tmp_path) == ["two"]


@pytest.mark.parametrize("labels", [np.zeros(3), np.zeros((2, 3)), 1])
def test_labels_that_do_not_fit(labels, model, tmp_path):
    with pytest.raises(ValueError, match="`labels` must fit the sample"):
        export(model, tmp_path / "out", labels=labels)


def test_different_outputs_are_refused_and_the_old_export_stays(model, tmp_path, wrong_writer):
    wrong_writer(lambda outputs: outputs)
    export(model, tmp_path / "out")
    wrong_writer(lambda outputs: outputs + 0.1)
    for target, overwrite in (("new", False), ("out", True)):
        with pytest.raises(ValueError, match="differs from the model by 0.1"):
            export(model, tmp_path / target, overwrite=overwrite)
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out" / "saved_model.pb").read_bytes() == b"12345"
    assert export(model, tmp_path / "new", tolerance=1.0).max_difference == pytest.approx(0.1)


def test_a_fixed_batch_size_is_found_out(model, tmp_path, wrong_writer):
    wrong_writer(lambda outputs: outputs[:2])
    with pytest.raises(ValueError, match="outputs of shape"):
        export(model, tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_nan_outputs_are_refused(model, tmp_path, wrong_writer):
    wrong_writer(lambda outputs: outputs * np.nan)
    with pytest.raises(ValueError, match="differs from the model by nan"):
        export(model, tmp_path / "out")
    with pytest.raises(ValueError, match="NaN or infinite"):
        export(model, tmp_path / "out", sample=np.full((1, 6, 6, 3), np.nan))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (np.ones((2, 6, 6, 1)), "shape"),
        (np.ones((6, 6, 3)), "shape"),
        (np.ones((0, 6, 6, 3)), "at least one image"),
        ({"x": np.ones((2, 6, 6, 3))}, "does not fit"),
        ("images", "does not fit"),
    ],
    ids=["channels", "no batch", "empty", "structure", "type"],
)
def test_sample_that_does_not_fit(sample, message, model, tmp_path):
    with pytest.raises(ValueError, match=message):
        export(model, tmp_path / "out", sample=sample)


def test_models_that_cannot_be_used(tmp_path):
    class Subclassed(keras.Model):
        pass

    for bad in (Subclassed(), keras.Sequential([keras.layers.Dense(2)]), "model.keras"):
        with pytest.raises(ValueError, match="built Functional or Sequential"):
            export(bad, tmp_path / "out")
    fixed = keras.Input(batch_shape=(2, 3))
    with pytest.raises(ValueError, match="batch size free"):
        export(keras.Model(fixed, fixed + 1.0), tmp_path / "out")
    free = keras.Input((None, 3))
    with pytest.raises(ValueError, match="`sample` is needed"):
        export(keras.Model(free, free + 1.0), tmp_path / "out")


@pytest.mark.parametrize("tolerance", [-1.0, float("nan")])
def test_tolerance_out_of_range(tolerance, model, tmp_path):
    with pytest.raises(ValueError, match="`tolerance`"):
        export(model, tmp_path / "out", tolerance=tolerance)
