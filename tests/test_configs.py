from __future__ import annotations

import importlib
import inspect
import pathlib
import re

import numpy as np
import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

import tfrcp
from configs import default, scratch
from tests.models.lite0_arrays import lite0_arrays
from tfrcp import Budget, CostModel, SearchSpace, training
from tfrcp.data import AUGMENTATIONS
from tfrcp.data.functions import load_function
from tfrcp.models.imagenet_weights import normalisation
from tfrcp.scoring import objectives
from tfrcp.search import RandomSampler

FOLDER = pathlib.Path(__file__).parents[1] / "configs"
NAMES = sorted(
    path.stem
    for path in FOLDER.glob("*.py")
    if path.stem not in ("default", "scratch")
    and not path.stem.startswith(("benchmark_", "study_"))
)
every_config = pytest.mark.parametrize("name", NAMES)

# What a classifier of the data sets named in the configurations sees and tells apart.
SHAPES = {
    "digits": ((8, 8, 1), 10),
    "cifar10": ((32, 32, 3), 10),
    "imagenet2012": ((224, 224, 3), 1000),
}


def base(name):
    """The configuration of every field that another one starts from."""
    return scratch if name.startswith("scratch_") else default


def module(name):
    return importlib.import_module(f"configs.{name}")


def fields(config, prefix=""):
    for key, value in config.items():
        if isinstance(value, ConfigDict) and key != "options":
            yield from fields(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def test_the_issued_configurations_are_there():
    assert {"digits_resnet20", "cifar10_resnet20", "cifar10_resnet56", "cifar10_vgg16"} <= {*NAMES}


@pytest.fixture
def parse(monkeypatch):
    """The configuration as the binaries read it from a command line."""

    def run(name, *arguments):
        values = flags.FlagValues()
        monkeypatch.setattr("sys.argv", ["prune.py", *arguments])
        path = str(FOLDER / f"{name}.py")
        config = config_flags.DEFINE_config_file("config", path, flag_values=values)
        values(["prune.py", *arguments])
        return config.value

    return run


@every_config
def test_it_has_the_fields_of_the_default_and_takes_no_others(name, parse):
    config = parse(name, "--config.search.max_trials=7", "--config.data.mean=(0.5,)")
    assert config.name == name and config.search.max_trials == 7
    assert config.data.mean == (0.5,)
    assert set(fields(config)) == set(fields(base(name).get_config()))
    assert config.is_locked
    for part in (config, config.data, config.model, config.train, config.search, config.export):
        with pytest.raises(AttributeError, match="no_such_field"):
            part.no_such_field = 1
    for unknown in ("--config.foo=1", "--config.search.max_trial=1"):
        with pytest.raises(AttributeError, match=unknown.split("=")[0].split(".")[-1]):
            parse(name, unknown)


@every_config
@pytest.mark.parametrize(
    "wrong",
    ["search.max_trials=many", "search.flops=half", "seed=1.5", "search.racing=perhaps"],
)
def test_a_value_of_another_type_is_refused(name, wrong, parse):
    with pytest.raises((flags.IllegalFlagValueError, TypeError, ValueError)) as error:
        parse(name, f"--config.{wrong}")
    assert wrong.split("=")[1] in str(error.value)


@every_config
def test_a_value_that_stands_for_nothing_may_be_given(name, parse):
    config = parse(name, "--config.data.data_dir=/data", "--config.search.params=0.4")
    assert config.data.data_dir == "/data" and config.search.params == 0.4
    assert parse(name).search.params is None


@every_config
def test_two_are_two_objects(name):
    first, second = module(name).get_config(), module(name).get_config()
    first.search.max_trials = 1
    assert second.search.max_trials != 1 and default.get_config().search.max_trials != 1


@every_config
def test_recipes_and_strategy_are_valid(name):
    config = module(name).get_config().to_dict()
    for part in ("supernet", "train", "finetune"):
        own = {name for name in ("random_widths", "under_budget") if name in config.get(part, ())}
        if part not in config:
            continue
        recipe = training.Recipe(**{k: v for k, v in config[part].items() if k not in own})
        assert recipe.augment in {None, *AUGMENTATIONS}
        assert recipe.epochs > 0 or (part == "train" and config["model"]["base"])
    training.strategy(config["strategy"])


@every_config
def test_the_network_is_there_and_can_be_pruned_as_told(name):
    config = module(name).get_config().to_dict()
    if config["model"]["factory"]:
        build, _ = load_function("model", config["model"]["factory"])
        model = build(**config["model"]["options"])
        assert model.compiled
    else:
        shape, classes = SHAPES[config["data"]["name"]]
        for field in ("mean", "std"):
            assert len(config["data"][field]) in (0, shape[-1])
        assert config["model"]["name"] in tfrcp.models.__all__
        build = getattr(tfrcp.models, config["model"]["name"])
        model = build(shape, classes, **config["model"]["options"])
    search = config["search"]
    graph = tfrcp.trace(model)
    space = SearchSpace(
        graph,
        search["min_ratio"],
        search["max_ratio"],
        search["divisor"],
        search["fixed"],
        from_scratch=base(name) is scratch,
    )
    budget = Budget(search["flops"], search["params"], search["tolerance"])
    RandomSampler(space, CostModel(graph), budget, config["seed"])  # finds that it can be met
    tfrcp.criteria.get(search["criterion"])
    assert objectives.get(model, search["objective"]).name.startswith("val_")
    assert search["max_trials"] > 0


@every_config
def test_its_search_fields_are_arguments_of_the_search(name):
    config = module(name).get_config().to_dict()
    arguments = set(inspect.signature(tfrcp.RandomChannelSearch).parameters)
    # The sampler chooses the class, and the stages how often it is made; times are measured first.
    assert set(config["search"]) - {"sampler", "stages", "latency_format"} <= arguments


@every_config
def test_its_docstring_gives_the_command_the_time_and_what_was_measured(name):
    text = module(name).__doc__
    binary = "scratch" if base(name) is scratch else "prune"
    assert f"python bin/{binary}.py --config=configs/{name}.py" in text
    if "Not run: no time and no accuracy was measured here." not in " ".join(text.split()):
        assert re.search(r"\d (s|seconds|min|minutes|h|hours)\b", text)
        assert re.search(r"\d ?%", text)


@every_config
def test_published_weights_get_images_as_they_expect(name):
    config = module(name).get_config().to_dict()
    if config["model"]["base"] != "keras.applications":
        return
    for field, wanted in zip(("mean", "std"), normalisation(config["model"]["name"]), strict=True):
        assert config["data"][field] == pytest.approx(wanted)


def test_classes_of_tiny_imagenet_are_rows_of_the_classifier(tmp_path):
    config = module("tiny_imagenet40_efficientnet_lite0")
    np.savez(tmp_path / "weights.npz", **lite0_arrays())
    model = config.network(str(tmp_path / "weights.npz"), size=64)
    bias = np.asarray(model.get_layer("classifier").bias)
    np.testing.assert_array_equal(bias, config.CLASSES)
