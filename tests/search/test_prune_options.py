"""The options of `prune`: all in its signature, wrong ones named by it."""

from __future__ import annotations

import inspect

import pytest

import tfrcp
from tests.search.small_search import HOLDOUT, TRAIN
from tfrcp.search.options import options_of
from tfrcp.search.prune import SEARCHES

PARAMETERS = inspect.signature(tfrcp.prune).parameters


@pytest.mark.parametrize("kind", SEARCHES.values(), ids=SEARCHES)
def test_every_option_of_every_search_stands_in_signature_and_help(kind):
    inner = {"hyperparameters", "latency_model", "project_name", "update", "options"}
    inner |= {"max_retries_per_trial", "max_consecutive_failed_trials"}
    missing = options_of(kind) - set(PARAMETERS) - inner
    assert not missing
    for name in set(PARAMETERS) - {"options"}:
        assert f"\n        {name}: " in tfrcp.prune.__doc__, name


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (tfrcp.prune, {"flop": 0.5}, "tfrcp.prune has no option `flop`. Did you mean `flops`?"),
        (tfrcp.prune, {"max_trial": 3}, "Did you mean `max_trials`?"),
        (tfrcp.prune, {"validation_dat": 3}, "Did you mean `validation_data`?"),
        (tfrcp.prune, {"sparkling": 3}, "The options are .*activations.*tolerance"),
        (
            tfrcp.prune,
            {"search": "random", "patience": 3},
            "`patience` of tfrcp.prune is an option of search='guided'.*RandomChannelSearch",
        ),
        (tfrcp.prune, {"population": 3}, "an option of search='evolutionary'"),
        (tfrcp.tradeoff, {"fixd": ()}, "tfrcp.tradeoff has no option `fixd`. Did you mean `fixed`"),
        (tfrcp.tradeoff, {"crossover": 0.1}, "an option of search='evolutionary'"),
        (tfrcp.sensitivity, {"ratio": 1}, "tfrcp.sensitivity has no option `ratio`. Did you mean"),
    ],
)
def test_a_wrong_option_is_named_with_the_nearest_right_one(trained, function, options, message):
    with pytest.raises(TypeError, match=message):
        function(trained, *TRAIN, validation_data=HOLDOUT, **options)


@pytest.mark.parametrize("kind", SEARCHES.values(), ids=SEARCHES)
def test_the_searches_themselves_name_it_too(trained, tmp_path, kind):
    with pytest.raises(TypeError, match=f"{kind.__name__} has no option `max_trial`. Did you mean"):
        kind(trained, 0.5, max_trial=3, directory=tmp_path)


def test_a_search_of_ones_own_has_its_own_options(trained, capsys):
    class Mine(tfrcp.RandomChannelSearch):
        def __init__(self, *args, sparkling=False, **options):
            assert sparkling
            super().__init__(*args, **options)

    options = {"search": Mine, "max_trials": 1, "tolerance": 0.2, "verbose": False}
    tfrcp.prune(trained, TRAIN, validation_data=HOLDOUT, sparkling=True, **options)
    assert capsys.readouterr().out == ""
    with pytest.raises(TypeError, match="Did you mean `sparkling`?"):
        tfrcp.prune(trained, TRAIN, validation_data=HOLDOUT, sparkl=True, **options)


def test_options_reach_the_search(trained, tmp_path):
    options = {"max_trials": 2, "tolerance": 0.2, "verbose": False, "directory": tmp_path}
    pruned = tfrcp.prune(
        trained, TRAIN, validation_data=HOLDOUT, divisor=2, fixed=["unit0_conv"], **options
    )
    assert pruned.get_layer("unit0_conv").filters == 8
    assert pruned.get_layer("unit1_conv").filters % 2 == 0
    evolved = {"search": "evolutionary", "population": 2, "tournament": 1, "overwrite": True}
    tfrcp.prune(trained, TRAIN, validation_data=HOLDOUT, **evolved, **options)
    with pytest.raises(ValueError, match="`finalists` must be"):
        tfrcp.prune(trained, TRAIN, validation_data=HOLDOUT, finalists=0, **options)
