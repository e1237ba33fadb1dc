"""The examples of a tuner and a criterion of one's own run, and do what they say."""

import importlib.util
import json

import keras
import numpy as np
import pytest

import tfrcp
from tests.small_run import REPOSITORY


def example(name):
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_own_tuner(tmp_path, capsys, monkeypatch):
    def fit(model, x, y, validation_data, **options):
        assert len(x) == len(y) == 64 and options["epochs"] == 3
        labels = model.predict_on_batch(validation_data[0]).argmax(axis=1)
        return {"val_accuracy": float((labels == validation_data[1]).mean())}

    monkeypatch.setattr(keras.Model, "fit", fit)  # as it was initialised
    example("own_tuner").main(str(tmp_path), max_trials=3, images=64)
    files = sorted(tmp_path.glob("resnet20/trial_*/trial.json"))
    states = [json.loads(file.read_text()) for file in files]
    assert [state["status"] for state in states] == ["COMPLETED"] * 3
    assert all(0 <= state["score"] <= 1 for state in states)
    values = [state["hyperparameters"]["values"] for state in states]
    assert values[0] != values[1] and values[0]["learning_rate"] == 2e-3
    printed = capsys.readouterr().out
    assert "MACs" in printed.splitlines()[1] and "learning_rate: 0.002" in printed
    used, full = (int(word.replace(",", "")) for word in printed.splitlines()[-1].split()[:3:2])
    assert abs(used / full - 0.5) <= 0.02


def test_own_criterion(tmp_path, capsys, monkeypatch):
    def few_layers(input_shape, classes):
        return keras.Sequential(
            [
                keras.Input(input_shape),
                *(keras.layers.Conv2D(24, 3, activation="relu") for _ in range(3)),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(classes),
            ]
        )

    monkeypatch.setattr(tfrcp.models, "resnet20", few_layers)  # the rest is the same for all
    monkeypatch.setattr(keras.Model, "fit", lambda *args, **kwargs: None)  # as it was initialised
    example("own_criterion").main(str(tmp_path), images=300, max_trials=3)
    files = list(tmp_path.glob("*/trial_*/trial.json"))
    assert len(files) == 3
    assert "weights -> " in capsys.readouterr().out


def test_own_criterion_is_the_largest_weight():
    model = tfrcp.models.resnet20(input_shape=(8, 8, 1))
    graph = tfrcp.trace(model)
    scores = example("own_criterion").largest_weight(model, graph)
    assert {name: len(array) for name, array in scores.items()} == {
        group.name: group.size for group in graph.prunable
    }
    alone = [g for g in graph.prunable if sum(s.role == "output" for s in g.slices) == 1][0]
    kernel = np.abs(model.get_layer(alone.name).kernel).max(axis=(0, 1, 2))
    assert scores[alone.name] == pytest.approx(kernel)
