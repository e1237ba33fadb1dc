from __future__ import annotations

import dataclasses
import json
import math

import keras
import numpy as np
import pytest

from tfrcp.scoring.losses import crossentropy
from tfrcp.training import Recipe


@pytest.mark.parametrize(
    "field, value",
    [
        ("epochs", -1),
        ("epochs", 1.5),
        ("epochs", True),
        ("batch_size", 0),
        ("warmup_epochs", -1),
        ("learning_rate", 0),
        ("learning_rate", -0.1),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("learning_rate", "high"),
        ("momentum", 1.0),
        ("weight_decay", -1e-4),
        ("weight_decay", math.inf),
        ("label_smoothing", 1),
        ("augment", 3),
    ],
)
def test_recipe_names_the_field_that_is_out_of_range(field, value):
    with pytest.raises(ValueError, match=f"`{field}` must be .*Received: {field}="):
        Recipe(**{field: value})


def test_warm_up_leaves_an_epoch_for_the_decay():
    with pytest.raises(ValueError, match="`warmup_epochs` must be below `epochs`"):
        Recipe(epochs=5, warmup_epochs=5)


def test_recipe_survives_json():
    recipe = Recipe(epochs=3, learning_rate=0.05, augment=None)
    assert Recipe(**json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe


def test_schedule_warms_up_to_the_peak_and_decays_to_zero():
    schedule = Recipe(epochs=10, warmup_epochs=2, learning_rate=0.4).schedule(steps_per_epoch=5)
    rates = np.array([float(schedule(step)) for step in range(51)])
    expected = np.concatenate(
        [0.04 + 0.036 * np.arange(10), 0.2 * (1 + np.cos(np.pi * np.arange(41) / 40))]
    )
    np.testing.assert_allclose(rates, expected, atol=1e-6)


def _decayed(recipe, model, steps):
    optimizer = recipe.optimizer(model, steps_per_epoch=steps)
    gradients = [np.zeros(v.shape, "float32") for v in model.trainable_variables]
    for _ in range(steps):
        optimizer.apply(gradients, model.trainable_variables)


def test_only_kernels_decay():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(3, 3, name="bias"),
            keras.layers.DepthwiseConv2D(3, name="gamma"),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.EinsumDense(
                "ab,bcd->acd", output_shape=(2, 3), bias_axes="cd", name="einsum"
            ),
        ]
    )
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape, "float32"))
    _decayed(Recipe(epochs=1, weight_decay=0.1), model, steps=2)
    decayed = [v.path.split("/")[-2:] for v in model.trainable_variables if v.numpy().max() < 1]
    assert decayed == [["bias", "kernel"], ["gamma", "kernel"], ["einsum", "kernel"]]


def test_weight_decay_is_as_strong_as_a_coupled_penalty():
    recipe = Recipe(epochs=1, learning_rate=0.1, weight_decay=5e-3)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, use_bias=False)])
    model.layers[0].kernel.assign(np.ones((2, 2), "float32"))
    steps = 400
    _decayed(recipe, model, steps)

    weight, velocity = 1.0, 0.0  # stochastic gradient descent of weight_decay / 2 * weight**2
    for step in range(steps):
        rate = 0.05 * (1 + math.cos(math.pi * step / steps))
        gradient = recipe.weight_decay * weight
        velocity = recipe.momentum * velocity + gradient
        weight -= rate * (gradient + recipe.momentum * velocity)
    assert weight < 0.4
    np.testing.assert_allclose(model.layers[0].kernel.numpy(), weight, rtol=0.03)


def _classifier(*layers):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), *layers])


def _functional_softmax():
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.ops.softmax(keras.layers.Dense(3)(inputs)))


def _nested_softmax():
    inputs = keras.Input((4,))
    return keras.Model(inputs, _classifier(keras.layers.Softmax())(inputs))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    "make, is_softmax",
    [
        (lambda: _classifier(), False),
        (lambda: _classifier(keras.layers.Dense(3, activation="softmax")), True),
        (lambda: _classifier(keras.layers.Activation("softmax")), True),
        (_functional_softmax, True),
        (_nested_softmax, True),
    ],
)
def test_crossentropy_is_the_formula_for_logits_and_probabilities(make, is_softmax, smoothing):
    model = make()
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(5, 3)).astype("float32")
    labels = np.array([0, 2, 1, 1, 0], "int32")
    probabilities = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    targets = (1 - smoothing) * np.eye(3)[labels] + smoothing / 3
    expected = -(targets * np.log(probabilities)).sum(1).mean()
    loss = crossentropy(model, label_smoothing=smoothing)
    found = loss(labels, probabilities if is_softmax else outputs)
    np.testing.assert_allclose(float(found), expected, rtol=1e-5)


@pytest.mark.parametrize("layer", [keras.layers.Dense(1), keras.layers.Reshape((3, 1))])
def test_crossentropy_refuses_what_is_no_classifier(layer):
    with pytest.raises(ValueError, match=r"one output \[batch, classes\]"):
        crossentropy(_classifier(layer))
