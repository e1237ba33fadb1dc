from __future__ import annotations

import importlib
import re

import pytest

import tfrcp
from configs import default
from tests.small_run import REPOSITORY
from tfrcp.run import inputs
from tfrcp.search import RandomSampler
from tfrcp.studies.functions import CRITERIA, find
from tfrcp.studies.grid import Grid
from tfrcp.studies.protocol import recipe

NAMES = sorted(
    path.stem for kind in ("benchmark", "study") for path in REPOSITORY.glob(f"configs/{kind}_*.py")
)
SHAPES = {"digits": ((8, 8, 1), 10), "cifar10_jpeg": ((32, 32, 3), 10)}
every_config = pytest.mark.parametrize("name", NAMES)


def module(name):
    return importlib.import_module(f"configs.{name}")


def test_all_are_there():
    assert NAMES == [
        "benchmark_cifar10_resnet20",
        "benchmark_digits",
        "study_cifar10_resnet8",
        "study_digits_resnet8",
    ]


@every_config
def test_it_has_the_fields_of_the_default_and_the_studies(name):
    config, plain = module(name).get_config(), default.get_config()
    assert config.name == name and set(config) == {*plain, "benchmark"}
    for part in ("data", "model", "train", "search", "finetune", "evaluate"):
        assert set(config[part]) == set(plain[part])
    studies = module("benchmark_digits").get_config().benchmark
    assert set(config.benchmark) == set(studies)


@every_config
def test_every_target_can_be_met_and_everything_named_is_there(name):
    config = module(name).get_config().to_dict()
    recipe(config)
    grid = Grid(config["benchmark"])
    assert all(study.cells for study in grid.studies.values())
    shape, classes = SHAPES[config["data"]["name"]]
    model = getattr(tfrcp.models, config["model"]["name"])(shape, classes)
    graph = tfrcp.trace(model)
    space, cost = inputs.space(graph, config["search"]), tfrcp.CostModel(graph)
    for flops in config["benchmark"]["flops"]:
        budget = tfrcp.Budget(flops, tolerance=config["search"]["tolerance"])
        RandomSampler(space, cost, budget).suggest(1)


def test_digits_has_every_criterion_and_enough_seeds():
    studies = module("benchmark_digits").get_config().benchmark
    assert set(studies.criteria) == set(CRITERIA)
    assert studies.seeds >= 5


@every_config
def test_its_docstring_gives_the_command_and_what_was_measured(name):
    text = module(name).__doc__
    assert f"python bin/benchmark.py --config=configs/{name}.py" in text
    assert re.search(r"\d (seconds|minutes|hours)\b", text) and re.search(r"\d ?%", text)


def test_criteria_have_arguments_in_their_names():
    found = find("criterion", "l2:scope=group", CRITERIA)
    assert found.call.get_config()["scope"] == "group"
    assert (found.label, found.key) == ("l2:scope=group", "l2_scope_group")
