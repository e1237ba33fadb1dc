"""Oracles whose trials depend on the scores of those before."""

from __future__ import annotations

import json
import shutil

import keras_tuner
import pytest

import tfrcp
from tests.search.small_oracle import DAMAGES, Counter, stored, traced, trials
from tests.search.small_search import GROUPS, HOLDOUT, TRAIN, network
from tests.space.sampling import feasible
from tfrcp import (
    Budget,
    EvolutionaryChannelOracle,
    GuidedChannelOracle,
    SearchSpace,
    SurrogateChannelOracle,
)

TRIALS = 8
KINDS = {
    EvolutionaryChannelOracle: {"population": 3, "tournament": 2},
    SurrogateChannelOracle: {"random_first": 3},
    GuidedChannelOracle: {"random_first": 3},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def oracle(kind, direction="max", max_trials=TRIALS, seed=0, **options):
    graph, cost = traced()
    objective = keras_tuner.Objective("score", direction)
    budget = Budget(0.5, tolerance=0.05)
    options = KINDS[kind] | options
    return kind(SearchSpace(graph), cost, budget, objective, max_trials, seed, **options)


def search(kind, directory, before=None, **options):
    tuner = Counter(oracle(kind, **options), directory, before)
    tuner.search()
    return tuner


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return {kind: trials(search(kind, tmp_path_factory.mktemp("undisturbed"))) for kind in KINDS}


@every_kind
def test_trials_are_feasible_plain_ints_and_all_differ(kind, undisturbed):
    values = [values for values, _, status in undisturbed[kind].values() if status == "COMPLETED"]
    assert len({tuple(v.items()) for v in values}) == TRIALS
    assert all(type(count) is int for v in values for count in v.values())
    _, cost = traced()
    for v in values:
        assert abs(cost([v[name] for name in GROUPS]).flops[0] / cost.full.flops - 0.5) <= 0.05


@every_kind
def test_a_seed_and_the_scores_tell_the_trials(kind, tmp_path, undisturbed):
    assert trials(search(kind, tmp_path / "again")) == undisturbed[kind]
    other = trials(search(kind, tmp_path / "other", seed=1))
    assert [t[0] for t in other.values()] != [t[0] for t in undisturbed[kind].values()]
    fewer = [t[0] for t in trials(search(kind, tmp_path / "min", direction="min")).values()]
    expected = [t[0] for t in undisturbed[kind].values()]
    assert fewer[:3] == expected[:3] and fewer != expected


@every_kind
@pytest.mark.parametrize("which", ["0", "4", "7"])
def test_interrupted_it_goes_on_the_same(kind, which, tmp_path, undisturbed):
    def interrupt(trial):
        if trial.trial_id == which:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(kind, tmp_path, interrupt)
    shutil.rmtree(tmp_path / "project" / f"trial_{which}")  # killed before it was stored
    tuner = search(kind, tmp_path)
    assert tuner.ran == list(undisturbed[kind])[int(which) :]
    assert trials(tuner) == undisturbed[kind] == stored(tmp_path)
    assert search(kind, tmp_path).ran == []


@every_kind
@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_trial_file_is_run_again_and_nothing_else(kind, damage, tmp_path, undisturbed):
    search(kind, tmp_path)
    file = tmp_path / "project" / "trial_5" / "trial.json"
    content = DAMAGES[damage](file.read_text())
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    tuner = search(kind, tmp_path)
    assert tuner.ran == ["5"] and trials(tuner) == undisturbed[kind]


@every_kind
def test_failed_trials_do_no_harm(kind, tmp_path):
    def fail(trial):
        if trial.trial_id in "135":
            raise ValueError("no luck")

    found = trials(search(kind, tmp_path, fail))
    assert [status for *_, status in found.values()].count("FAILED") == 3
    assert len({tuple(values.items()) for values, *_ in found.values()}) == TRIALS


@every_kind
def test_with_fewer_candidates_than_trials_all_are_tried(kind):
    made = oracle(kind, max_trials=10_000)
    space, cost, budget = made.sampler.space, made.sampler.cost, made.sampler.budget
    count = len(feasible(space, cost, budget))
    assert made.max_trials == count and f"only {count} candidates" in made.note
    assert oracle(kind, max_trials=count).note == ""
    vectors = {tuple(made._values(index).values()) for index in range(count)}
    assert len(vectors) == count


@every_kind
@pytest.mark.parametrize("change", [{"seed": 1}, {"option": 5}, {"kind": 1}])
def test_a_search_with_other_arguments_is_refused(kind, change, tmp_path):
    search(kind, tmp_path, max_trials=4)
    (option,) = [name for name in KINDS[kind] if name != "tournament"]
    other = next(each for each in KINDS if each is not kind)
    name, old, new = {
        "seed": ("seed", 0, 1),
        "option": (option, 3, 5),
        "kind": ("sampler", kind, other),
    }[next(iter(change))]
    options = {name: new} if name != "sampler" else {}
    with pytest.raises(ValueError, match=f"its `{name}` has") as error:
        search(other if name == "sampler" else kind, tmp_path, **options)
    assert f"{getattr(old, '__name__', old)}"[:5] in str(error.value)
    assert f"{getattr(new, '__name__', new)}"[:5] in str(error.value)


def test_the_space_is_kept_and_its_difference_shown(tmp_path):
    search(EvolutionaryChannelOracle, tmp_path, max_trials=1)
    file = tmp_path / "project" / "space.json"
    kept = json.loads(file.read_text())
    assert kept["space"]["unit1_conv"]["channels"] == 10 and kept["budget"]["flops"] == 0.5
    kept["space"]["unit1_conv"]["divisor"] = 2
    file.write_text(json.dumps(kept))
    with pytest.raises(ValueError, match="its `space.unit1_conv.divisor` has 2, .* would have 1"):
        search(EvolutionaryChannelOracle, tmp_path)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (tfrcp.EvolutionaryChannelSearch, {"population": 2, "tournament": 2}),
        (tfrcp.SurrogateChannelSearch, {"random_first": 2}),
    ],
)
def test_searches_are_of_the_same_shape_as_the_random_one(kind, options, tmp_path):
    def made():
        return kind(
            network(),
            max_trials=4,
            tolerance=0.1,
            tied=["unit0*", "unit1*"],
            directory=tmp_path,
            project_name="project",
            **options,
        )

    tuner = made()
    tuner.search(TRAIN, validation_data=HOLDOUT, verbose=False)
    found = trials(tuner)
    assert len(found) == 4 and all(status == "COMPLETED" for *_, status in found.values())
    best = tuner.get_best_channels()[0]
    model = tuner.get_best_models()[0]
    assert {name: model.get_layer(name).filters for name in GROUPS} == best
    again = made()
    assert trials(again) == found and again.get_best_channels()[0] == best
    with pytest.raises(TypeError, match="nonsense"):
        kind(network(), nonsense=1)
