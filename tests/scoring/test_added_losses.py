"""Models that are trained by what their layers add, as autoencoders often are."""

import keras
import numpy as np
import pytest
from keras import layers

import tfrcp
from tests.scoring.jobs import IMAGES
from tfrcp import training
from tfrcp.data.trees import TreeSplit
from tfrcp.scoring import objectives


class Difference(layers.Layer):
    def call(self, wanted, found):
        self.add_loss(keras.ops.mean(keras.ops.square(wanted - found)))
        return found


def autoencoder(**options):
    keras.utils.set_random_seed(2)
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="conv", **options)(inputs)
    model = keras.Model(inputs, Difference()(inputs, layers.Conv2D(2, 1)(x)))
    model.compile("sgd")
    return model


@pytest.mark.parametrize("objective", ["auto", "val_loss"])
@pytest.mark.parametrize("options", [{}, {"kernel_regularizer": "l2"}], ids=["", "regularised"])
def test_they_are_scored_by_it_without_labels(objective, options, tmp_path):
    tuner = tfrcp.RandomChannelSearch(
        autoencoder(**options),
        0.6,
        objective=objective,
        max_trials=2,
        tolerance=0.3,
        directory=str(tmp_path),
    )
    tuner.search(IMAGES[:60], validation_data=IMAGES[60:220], verbose=False)
    assert tuner.objective.name == "val_loss"
    scores = [trial.score for trial in tuner.oracle.get_best_trials(2)]
    found = [model.evaluate(IMAGES[60:220], verbose=0) for model in tuner.get_best_models(2)]
    assert scores == pytest.approx(found, abs=1e-4)
    assert len(tfrcp.prune(autoencoder(**options), IMAGES, max_trials=2, verbose=False).layers) == 4


def test_they_are_trained_by_it():
    model, split = autoencoder(), TreeSplit((IMAGES,))
    before = objectives.evaluate(model, IMAGES, "val_loss")
    recipe = training.Recipe(epochs=2, batch_size=20, learning_rate=0.1, augment=None)
    training.fit(model, split.batches(20), None, recipe, verbose=False)
    assert objectives.evaluate(model, IMAGES, "val_loss") < 0.9 * before


def test_penalties_alone_are_no_loss():
    inputs = keras.Input((6, 6, 2))
    model = keras.Model(inputs, layers.Conv2D(2, 1, kernel_regularizer="l2")(inputs))
    model.compile("sgd")
    assert objectives.get(model, labels=False).name == "agreement"


def test_a_name_that_is_not_compiled_is_answered_with_those_that_are():
    model = autoencoder()
    model.compile("sgd", "mse", metrics=["mae", keras.metrics.RootMeanSquaredError()])
    with pytest.raises(ValueError, match="val_loss, val_mae, val_root.*Did you mean 'val_mae'"):
        objectives.get(model, "val_mea")
    assert np.isfinite(objectives.evaluate(model, (IMAGES, IMAGES), "val_mae"))
