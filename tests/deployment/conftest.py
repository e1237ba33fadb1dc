"""A network to export, and a format that writes something else."""

import keras
import numpy as np
import pytest

from tfrcp.deployment import runtimes
from tfrcp.deployment.formats import FORMATS, Format


def image_model():
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    x = keras.layers.BatchNormalization()(x)
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))


@pytest.fixture(scope="session")
def model():
    keras.utils.set_random_seed(0)
    return image_model()


@pytest.fixture
def wrong_writer(model, monkeypatch):
    """A format whose export answers `change` of the truth."""

    class Wrong(Format):
        def write(self, model, path, quantization, calibration):
            path.mkdir()
            (path / "saved_model.pb").write_bytes(b"12345")

        def made(self, path):
            return (path / "saved_model.pb").is_file()

    def use(change):
        class Runner(runtimes.Runner):
            def run(self, batch):
                (images,) = batch.values()
                return [change(np.asarray(model(images)))]

        monkeypatch.setitem(FORMATS, "tf_saved_model", Wrong())
        monkeypatch.setattr(runtimes, "load", lambda path: Runner())

    return use
