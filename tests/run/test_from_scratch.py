"""The job from scratch on a network of a few weights, with widths beyond the original ones."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

import tfrcp
from configs import scratch_digits
from tests.search.small_search import images
from tfrcp import models
from tfrcp.run import ScratchPipeline

LAYERS = keras.layers


def tiny(input_shape=(8, 8, 1), classes=3, channels=None, *, shortcut="A", seed=0):
    """Two convolutions, 6 and 8 channels; stands in for ResNet-20."""
    first, second = channels or (6, 8)
    keras.utils.set_random_seed(seed)
    image = keras.Input(input_shape)
    x = LAYERS.Conv2D(first, 3, use_bias=False, name="first")(image)
    x = LAYERS.ReLU()(LAYERS.BatchNormalization(name="first_bn")(x))
    x = LAYERS.ReLU()(LAYERS.Conv2D(second, 3, name="second")(x))
    x = LAYERS.GlobalAveragePooling2D()(x)
    return keras.Model(image, LAYERS.Dense(classes, name="head")(x), name="tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """An .npz file of images [n, 8, 8, 1] in 3 classes."""
    folder = tmp_path_factory.mktemp("data")
    x, y = images(140, seed=0)
    x_test, y_test = images(40, seed=1)
    np.savez(folder / "data.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    return folder / "data.npz"


@pytest.fixture
def config(data, monkeypatch):
    monkeypatch.setattr(models, "resnet20", tiny)
    config = scratch_digits.get_config()
    config.data.name = str(data)
    config.supernet.epochs = config.train.epochs = 2
    config.supernet.warmup_epochs = config.train.warmup_epochs = 0
    config.search.max_ratio, config.search.tolerance, config.search.max_trials = 1.5, 0.1, 3
    return config


def test_the_whole_job(config, tmp_path, capsys):
    config.supernet.under_budget = True
    ScratchPipeline(config.to_dict(), tmp_path).scratch()
    wide = keras.models.load_model(tmp_path / "supernet.keras", compile=False)
    trained = keras.models.load_model(tmp_path / "trained.keras", compile=False)
    content = json.loads((tmp_path / "channels.json").read_text())
    assert content["full"] == {"first": 6, "second": 8}
    sizes = {group.name: group.size for group in tfrcp.trace(wide).prunable}
    assert sizes == {"first": 9, "second": 12}
    found = {group.name: group.size for group in tfrcp.trace(trained).prunable}
    assert found == content["channels"] and all(1 <= n <= 12 for n in found.values())
    full = tfrcp.CostModel(tfrcp.trace(tiny((*trained.input_shape[1:],), 3))).full.flops
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    for trial in metrics["search"]["trials"]:
        assert abs(trial["flops"] / full - 0.5) <= 0.1 + 1e-6
    assert tfrcp.CostModel(tfrcp.trace(trained)).full.flops == content["flops"]
    assert metrics["results"]["before"]["flops"] == full
    assert metrics["results"]["before"].get("test_accuracy") is None
    assert 0 <= metrics["results"]["after"]["test_accuracy"] <= 1
    assert len(metrics["training"]["supernet"]["history"]["random_accuracy"]) == 2
    page = (tmp_path / "report.html").read_text()
    assert "Found by a search over the weights of a supernet" in page
    assert (tmp_path / "plots" / "supernet.png").exists()
    assert (tmp_path / "export" / "saved_model").is_dir()
    assert not (tmp_path / "backup").exists()
    capsys.readouterr()
    pipeline = ScratchPipeline(config.to_dict(), tmp_path)
    pipeline.scratch()
    assert capsys.readouterr().out.count("already complete") == 5
    assert pipeline.outcome("scratch")["flops_ratio"] == pytest.approx(content["flops"] / full)
    config.search.max_ratio = 1.2
    with pytest.raises(ValueError, match="'supernet'.*space.max_ratio was 1.5 and is now 1.2"):
        ScratchPipeline(config.to_dict(), tmp_path)


def test_the_winner_may_inherit(config, tmp_path):
    config.inherit, config.train.epochs = True, 0
    pipeline = ScratchPipeline(config.to_dict(), tmp_path)
    for stage in ("supernet", "search", "train"):
        getattr(pipeline, stage)()
    searched, trained = (
        keras.models.load_model(tmp_path / name, compile=False).get_weights()
        for name in ("pruned.keras", "trained.keras")
    )
    for ours, theirs in zip(searched, trained, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model.base", "base.keras", "`config.model.base` must be empty"),
        ("search.stages", 2, "`config.search.stages` must be 1"),
        ("supernet.random_widths", -1, "`config.supernet.random_widths` must be an int"),
        ("supernet.ema", 0.9, "`config.supernet`: `ema` must be 0.0"),
        ("supernet.augment", "none", "`config.supernet.augment` must be one of"),
        ("search.min_ratio", 0.9, "cannot be met"),
        ("strategy", "multi_worker", "."),
    ],
)
def test_what_is_wrong_is_said_before_any_work(config, tmp_path, field, value, message):
    part = config
    *parents, last = field.split(".")
    for name in parents:
        part = part[name]
    part[last] = value
    with pytest.raises(ValueError, match=message):
        ScratchPipeline(config.to_dict(), tmp_path)
