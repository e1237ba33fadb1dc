"""The guided search: where it begins, when it ends, and what it returns."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tfrcp
from tests.search.small_search import HOLDOUT, TRAIN
from tests.search.small_tuner import trials
from tfrcp import GuidedChannelSearch
from tfrcp.allocation.starts import starting_points
from tfrcp.search import GuidedSampler
from tfrcp.search.winner import best_model, finalists

OPTIONS = {"max_trials": 14, "patience": 3, "tolerance": 0.05}


class Search(GuidedChannelSearch):
    """Keeps a list of the trials that were run, and calls `before` each."""

    def __init__(self, *args, before=None, **kwargs):
        self.ran, self.before = [], before or (lambda trial: None)
        super().__init__(*args, **kwargs)

    def run_trial(self, trial):
        self.before(trial)
        self.ran.append(trial.trial_id)
        return super().run_trial(trial)


@pytest.fixture
def guided(trained, tmp_path):
    def make(directory=tmp_path, **options):
        options = OPTIONS | {"flops": 0.5, "directory": directory} | options
        return Search(trained, project_name="project", **options)

    return make


def run(tuner, train=TRAIN, verbose=False):
    tuner.search(train, validation_data=HOLDOUT, verbose=verbose)
    return tuner


def test_the_first_trials_are_the_allocations(guided, trained, capsys):
    made = run(guided(), verbose=True)
    graph, cost, space = made.graph, made.cost, made.space
    scores = {"taylor": tfrcp.criteria.Taylor(images=256, verbose=False)(trained, graph, TRAIN)}
    budget = tfrcp.Budget(0.5, tolerance=0.05)
    starts = starting_points(graph, scores, space, cost, budget)
    assert {"taylor per cost", "uniform"} <= set(starts) and len(starts) >= 3
    first = [list(values.values()) for values, _, _ in trials(made).values()][: len(starts)]
    np.testing.assert_array_equal(first, list(starts.values()))
    printed = capsys.readouterr().out
    assert "taylor per cost; " in printed


@pytest.mark.parametrize("objective", ["val_accuracy", "val_loss"])
def test_it_is_never_worse_than_a_trial_and_the_winner_comes_first(guided, objective):
    made = run(guided(objective=objective))
    sign = 1 if objective == "val_accuracy" else -1
    model, score = best_model(made, verbose=False)
    assert sign * score >= max(sign * trial[1] for trial in trials(made).values())
    (first,), (channels,) = made.get_best_models(1), made.get_best_channels(1)
    assert made.evaluator.score_model(first) == pytest.approx(score, abs=1e-4)
    assert {name: first.get_layer(name).filters for name in channels} == channels
    assert channels == {n: made.winner.trial.hyperparameters.values[n] for n in channels}
    assert len({t.trial_id for t in made._best(5)}) == 5 and first is not model


def test_finalists_differ_and_begin_with_the_best(guided):
    made = run(guided(max_trials=12, patience=12))
    found = finalists(made, 4)
    best = made.store.get_best_trials(1)[0]
    assert found[0].trial_id == best.trial_id and 1 <= len(found) <= 4
    vectors = [made.channels_of(trial) / made.graph.full for trial in found]
    assert 0 in {int(trial.trial_id) for trial in found}  # the first allocation
    for i, one in enumerate(vectors[3:], 3):
        assert all(np.abs(one - other).mean() > 0.05 for other in vectors[:i])


def test_it_ends_when_nothing_is_gained_and_says_so(guided, capsys):
    made = run(guided(max_trials=60, patience=2), verbose=True)
    ended = len(made.store.end_order)
    assert ended < 60 and f"ends after {ended} of at most 60 trials" in capsys.readouterr().out
    assert run(guided(max_trials=60, patience=2)).ran == []


@pytest.mark.parametrize("which", ["01", "05"])
def test_killed_and_made_again_it_ends_the_same(guided, which, tmp_path):
    undisturbed = run(guided(tmp_path / "whole"))

    def interrupt(trial):
        if trial.trial_id == which:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(guided(before=interrupt))
    again = run(guided())
    assert trials(again) == trials(undisturbed)
    assert again.ran == undisturbed.ran[int(which) :]
    assert again.winner.trial.trial_id == undisturbed.winner.trial.trial_id
    assert again.winner.score == pytest.approx(undisturbed.winner.score, abs=1e-6)


@pytest.mark.parametrize(("labels", "ranking"), [(True, "taylor per cost"), (False, "l1")])
def test_rankings_are_by_taylor_where_labels_allow_it(guided, labels, ranking, capsys):
    made = run(guided(max_trials=2), TRAIN if labels else TRAIN[0], verbose=True)
    assert tfrcp.criteria.serialize(made.criterion)["class_name"] == "optimal_brain_surgeon"
    assert f"allocations: {ranking}; " in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [{"finalists": 0}, {"patience": 0}, {"starts": [[1, 2]]}])
def test_bad_arguments(guided, wrong):
    with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
        guided(**wrong)


def test_prune_takes_every_search_by_name(trained):
    for name in ("guided", "random", "evolutionary", tfrcp.RandomChannelSearch):
        pruned = tfrcp.prune(
            trained,
            TRAIN,
            validation_data=HOLDOUT,
            search=name,
            max_trials=2,
            tolerance=0.05,
            verbose=False,
        )
        assert isinstance(pruned, keras.Model) and pruned.count_params() < trained.count_params()
    with pytest.raises(ValueError, match="`search` must be one of.*'guided'.*Received: 'best'"):
        tfrcp.prune(trained, TRAIN, validation_data=HOLDOUT, search="best")


def test_starts_that_miss_the_budget_are_left_out(small):
    graph, cost = small
    space, budget = tfrcp.SearchSpace(graph), tfrcp.Budget(0.5, tolerance=0.05)
    good = tfrcp.allocation.get("uniform")(graph, {}, space, cost, budget)
    sampler = GuidedSampler(space, cost, budget, starts=[space.largest, good, good])
    np.testing.assert_array_equal(sampler.suggest(1)[0], good)


def test_moves_stay_near_the_best(small):
    graph, cost = small
    space, budget = tfrcp.SearchSpace(graph), tfrcp.Budget(0.5, tolerance=0.05)
    start = tfrcp.allocation.get("uniform")(graph, {}, space, cost, budget)
    guided, random = (
        kind(space, cost, budget, **options)
        for kind, options in (
            (GuidedSampler, {"starts": [start]}),
            (tfrcp.search.RandomSampler, {}),
        )
    )
    guided.update(guided.suggest(1), [1.0])
    far = [np.abs(s.suggest(20) - start).sum(axis=1).mean() for s in (guided, random)]
    assert far[0] < far[1]
