"""Bad input is found before anything is trained, searched or written."""

from __future__ import annotations

import json
import math
import types

import keras
import numpy as np
import pytest

from tests.search.small_search import images, network
from tests.small_run import config, write_inputs
from tfrcp.run import Pipeline
from tfrcp.run.checks import check_recipes
from tfrcp.training import Recipe


def bad_arrays(folder, name, **arrays):
    x, y = images(60, seed=0)
    x_test, y_test = images(20, seed=1)
    whole = {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}
    changed = whole | {key: change(whole[key]) for key, change in arrays.items()}
    np.savez(folder / name, **{key: a for key, a in changed.items() if a is not None})


def spoil(x):
    x = x.copy()
    x[3, 2] = np.nan
    return x


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.head = keras.layers.Dense(3)

    def call(self, x):
        return self.head(keras.ops.reshape(x, (-1, 64)))


class Unknown(keras.layers.Layer):
    def call(self, x):
        return x


def flat(classes, *layers, shape=(8, 8, 1)):
    return keras.Sequential(
        [keras.Input(shape), *layers, keras.layers.Flatten(), keras.layers.Dense(classes)]
    )


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """A folder of files that cannot be used."""
    folder = write_inputs(tmp_path_factory.mktemp("bad"))
    (folder / "garbage.keras").write_bytes(b"not a network")
    (folder / "empty.keras").write_bytes(b"")
    (folder / "text.txt").write_text("not a network")
    (folder / "garbage.npz").write_bytes(b"PK\x03\x04 not an archive")
    whole = (folder / "base.keras").read_bytes()
    (folder / "short.keras").write_bytes(whole[: len(whole) // 2])
    flat(7, keras.layers.Conv2D(4, 3)).save(folder / "seven.keras")
    flat(3, keras.layers.Conv2D(4, 3), shape=(8, 8, 3)).save(folder / "colour.keras")
    flat(3).save(folder / "nothing.keras")
    flat(3, keras.layers.Conv2D(4, 3), Unknown()).save(folder / "unknown.keras")
    subclassed = Subclassed()
    subclassed(np.zeros((1, 8, 8, 1), "float32"))
    subclassed.save(folder / "subclassed.keras")
    spoilt = network()
    spoilt.get_layer("head").kernel.assign(np.full((12, 3), np.nan))
    spoilt.save(folder / "nan.keras")
    bad_arrays(folder, "nan.npz", x_train=spoil)
    bad_arrays(folder, "nan_test.npz", x_test=spoil)
    bad_arrays(folder, "labels.npz", y_test=lambda y: y + 5)
    bad_arrays(folder, "negative.npz", y_train=lambda y: y - 1)
    bad_arrays(folder, "missing.npz", y_test=lambda y: None)
    bad_arrays(folder, "short.npz", y_train=lambda y: y[:-1])
    return folder


FLAT = {"train__epochs": 0, "finetune__epochs": 0}
BAD = {
    # what is wrong: (changes of the configuration, what the message must say)
    "base missing": ({"model__base": "{bad}/nope.keras"}, "model.base.*nope.keras.*missing"),
    "base a folder": ({"model__base": "{bad}"}, "bad"),
    "base garbage": ({"model__base": "{bad}/garbage.keras"}, "model.base.*garbage.keras"),
    "base empty": ({"model__base": "{bad}/empty.keras"}, "model.base.*empty.keras"),
    "base cut short": ({"model__base": "{bad}/short.keras"}, "model.base.*short.keras"),
    "base text": ({"model__base": "{bad}/text.txt"}, "model.base.*text.txt"),
    "no published weights": (
        {"model__base": "keras.applications"},
        "keras.applications has no weights for 'resnet20'",
    ),
    "published weights' mean": (
        {
            "model__name": "mobilenet_v2",
            "model__base": "keras.applications",
            "model__options": {},
        },
        r"data.mean.*0.5, 0.5, 0.5",
    ),
    "base garbage npz": ({"model__base": "{bad}/garbage.npz"}, "garbage.npz"),
    "base other arrays": ({"model__base": "{bad}/data.npz"}, "data.npz do not fit"),
    "base other classes": ({"model__base": "{bad}/seven.keras"}, "3 classes.*seven.keras"),
    "base other images": ({"model__base": "{bad}/colour.keras"}, r"\(8, 8, 1\).*colour.keras"),
    "base not prunable": ({"model__base": "{bad}/nothing.keras"}, "No channel .* can be pruned"),
    "base unknown layer": ({"model__base": "{bad}/unknown.keras"}, "model.base.*'Unknown'"),
    "base subclassed": ({"model__base": "{bad}/subclassed.keras"}, "subclassed"),
    "base with nan": ({"model__base": "{bad}/nan.keras"} | FLAT, "nan.keras.*NaN"),
    "criterion": ({"search__criterion": "nope"}, "criterion.*'l1'.*'nope'"),
    "model": ({"model__name": "nope"}, "'resnet20'.*'nope'"),
    "no builder": ({"model__name": "full_channels"}, "'resnet20'.*'full_channels'"),
    "model options": (
        {"model__options": {"foo": 1}},
        "model.options.*'shortcut'.*--config.model.options=none.*'foo'",
    ),
    "model options twice": (
        {"model__base": "", "model__options": {"seed": 1}},
        "model.options.*'seed'",
    ),
    "data": ({"data__name": "nope"}, "Unknown data set 'nope'"),
    "no data": ({"data__name": ""}, "data"),
    "tfds missing": (
        {"data__name": "cifar10", "data__data_dir": "{bad}/data"},
        "not prepared in .*bad.*/data.*data_dir",
    ),
    "npz missing": ({"data__name": "{bad}/nope.npz"}, "no data file .*nope.npz"),
    "npz garbage": ({"data__name": "{bad}/garbage.npz"}, "garbage.npz"),
    "npz incomplete": ({"data__name": "{bad}/missing.npz"}, r"Missing: \['y_test'\]"),
    "images nan": ({"data__name": "{bad}/nan.npz"}, "x_train.* 1 of 60 images with NaN"),
    "test images nan": ({"data__name": "{bad}/nan_test.npz"}, "x_test.* 1 of 20 images with NaN"),
    "labels": ({"data__name": "{bad}/labels.npz"}, r"y_test.*\[0, 3\).*from 5 to 7"),
    "labels negative": ({"data__name": "{bad}/negative.npz"}, "y_train.*from -1 to 1"),
    "labels fewer": ({"data__name": "{bad}/short.npz"}, "y_train"),
    "mean": ({"data__mean": (0.5, 0.5)}, "mean"),
    "std": ({"data__std": (0.0,)}, "std"),
    "holdout none": ({"data__holdout": 0.0}, "holdout"),
    "holdout all": ({"data__holdout": 1.5}, "holdout"),
    "augment": ({"train__augment": "nope"}, "augment.*'cifar'.*'nope'"),
    "augment later": ({"finetune__augment": "nope"}, "augment.*'cifar'.*'nope'"),
    "strategy": ({"strategy": "nope"}, "'mirrored'.*'nope'"),
    "parameter server": ({"strategy": "parameter_server"}, "does not support parameter servers"),
    "no cluster": ({"strategy": "multi_worker"}, "TF_CONFIG, which is not set"),
    "devices": ({"devices": ("GPU:0", "GPU:1")}, "devices.*TensorFlow sees: CPU:0"),
    "image size": ({"data__image_size": 8}, "image_size.*are for folders"),
    "stream": ({"data__stream": True}, "stream=True.*needs .image_size"),
    "steps": ({"search__stages": 0}, "stages.*0"),
    "teacher of the base": ({"train__distillation": 0.5}, "there is no teacher yet"),
    "flops unreachable": (
        {"search__flops": 0.01, "search__tolerance": 0.005},
        "cannot be met. The space reaches .* MACs",
    ),
    "flops 0": ({"search__flops": 0.0}, "flops.*Received: flops=0"),
    "flops 1.5": ({"search__flops": 1.5}, "flops.*1.5"),
    "flops nan": ({"search__flops": math.nan}, "flops.*nan"),
    "flops infinite": ({"search__flops": math.inf}, "flops.*inf"),
    "params 0": ({"search__params": 0.0}, "params.*Received: params=0"),
    "params unreachable": ({"search__params": 20.0}, "cannot be met.*weights"),
    "tolerance": ({"search__tolerance": -0.1}, "tolerance.*-0.1"),
    "min_ratio 0": ({"search__min_ratio": 0.0}, "min_ratio"),
    "min_ratio 1.5": ({"search__min_ratio": 1.5}, "min_ratio"),
    "max_ratio": ({"search__max_ratio": 0.05}, "max_ratio"),
    "divisor": ({"search__divisor": 0}, "divisor"),
    "fixed": ({"search__fixed": ("nope",)}, "'unit0_conv'.*'nope'"),
    "no trials": ({"search__max_trials": 0}, "max_trials"),
    "objective": ({"search__objective": "nope"}, "objective.*'val_loss'.*'nope'"),
    "reconstruction": (
        {"search__reconstruction": "nope"},
        "reconstruction.*'least_squares'.*'nope'",
    ),
    "calibration": ({"search__calibration_images": -1}, "calibration_images.*-1"),
    "epochs": ({"train__epochs": -1}, "epochs.*-1"),
    "epochs later": ({"finetune__epochs": -1}, "epochs.*-1"),
    "batch size": ({"train__batch_size": 0}, "batch_size.*0"),
    "learning rate": ({"finetune__learning_rate": -1.0}, "learning_rate.*-1"),
    "warm-up": ({"train__warmup_epochs": 2}, "warmup_epochs"),
    "evaluation batch": ({"evaluate__batch_size": 0}, "batch_size.*0"),
    "latency batch": ({"evaluate__latency_batch_size": 0}, "latency_batch_size.*0"),
    "export": ({"export__format": ("nope",)}, "format.*'tf_saved_model'.*'nope'"),
    "no export": ({"export__format": ()}, "format.*'tf_saved_model'"),
    "ranges": ({"export__calibration_images": 0}, "calibration_images.*0"),
    "loss": ({"export__accuracy_tolerance": -1.0}, "accuracy_tolerance.*-1"),
    "seed": ({"seed": -1}, "seed.*-1"),
    "seed too large": ({"seed": 2**32}, "seed.*at most 4,294,967,295"),
    "seed true": ({"seed": True}, "seed.*an int.*True"),
    "tolerance nan": ({"search__tolerance": math.nan}, "tolerance.*nan"),
    "holdout nan": ({"data__holdout": math.nan}, "holdout.*nan"),
    "min_ratio nan": ({"search__min_ratio": math.nan}, "min_ratio.*nan"),
    "params nan": ({"search__params": math.nan}, "params.*nan"),
    "mean nan": ({"data__mean": (math.nan,)}, "mean.*nan"),
    "learning rate nan": ({"train__learning_rate": math.nan}, "learning_rate.*nan"),
    "loss nan": ({"export__accuracy_tolerance": math.nan}, "accuracy_tolerance.*nan"),
    "score nan": ({"export__score_tolerance": math.inf}, "score_tolerance.*inf"),
    "trials without end": ({"search__max_trials": 10**12}, "max_trials.*at most 1,000,000"),
    "epochs without end": ({"train__epochs": 10**9}, "epochs.*at most 1,000,000"),
    "image of a planet": ({"data__image_size": 10**7}, "image_size.*at most 65,535"),
    "half a trial": ({"search__max_trials": 2.5}, "max_trials.*an int.*2.5"),
    "a switch of text": ({"search__racing": "yes"}, "racing.*true or false.*'yes'"),
    "no text": ({"model__base": None}, "model.base.*text.*None"),
    "mean no list": ({"data__mean": "0.5"}, "mean.*tuple of finite numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_any_work(case, bad, tmp_path):
    changes, message = BAD[case]
    changes = {
        name: value.format(bad=bad) if isinstance(value, str) else value
        for name, value in changes.items()
    }
    with pytest.raises((ValueError, OSError), match=f"(?s){message}") as error:
        Pipeline(config(bad, **changes), tmp_path / "run")
    assert len(str(error.value)) < 1500
    if (tmp_path / "run").exists():
        assert json.loads((tmp_path / "run" / "metrics.json").read_text())["stages"] == []


def test_a_folder_that_cannot_be_written_is_refused(bad, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written.*--workdir"):
        Pipeline(config(bad), tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 7}, "`config.finetune`: `batch_size` must be a multiple .*devices, 2"),
        ({"jit_compile": True}, "`config.finetune`: `jit_compile=True` works on one device only"),
    ],
)
def test_recipes_that_do_not_go_with_the_devices(changes, message):
    two = types.SimpleNamespace(num_replicas_in_sync=2)
    with pytest.raises(ValueError, match=message):
        check_recipes({"train": Recipe(), "finetune": Recipe(**changes)}, two)
