from __future__ import annotations

import json

import keras
import keras_tuner
import numpy as np
import pytest

from tests.search.small_oracle import (
    BUDGET,
    TRIALS,
    Counter,
    oracle,
    search,
    traced,
    trials,
)
from tests.search.small_search import GROUPS, HOLDOUT, TRAIN, network
from tests.space.sampling import feasible
from tfrcp import Budget, RandomChannelOracle, SearchSpace


def test_every_group_is_one_int_named_as_the_group():
    space = oracle(space={"min_ratio": 0.3, "max_ratio": 0.8}).get_space().space
    assert [type(hp).__name__ for hp in space] == ["Int"] * 3
    assert {hp.name: (hp.min_value, hp.max_value) for hp in space} == {
        "unit0_conv": (3, 6),
        "unit1_conv": (3, 8),
        "unit2_conv": (4, 9),
    }


def test_trials_are_feasible_plain_ints_and_all_differ(tmp_path):
    made = oracle(space={"divisor": 2}, budget=Budget(0.4, tolerance=0.1), max_trials=12)
    tuner = Counter(made, tmp_path)
    tuner.search()
    values = [values for values, _, _ in trials(tuner).values()]
    assert len(values) == 12 and all(set(v) == set(GROUPS) for v in values)
    assert all(type(count) is int for v in values for count in v.values())
    vectors = np.array([[v[name] for name in GROUPS] for v in values])
    assert len(np.unique(vectors, axis=0)) == 12
    assert (vectors % 2 == 0).all()
    _, cost = traced()
    assert (np.abs(cost(vectors).flops / cost.full.flops - 0.4) <= 0.1).all()
    assert json.loads(json.dumps(values)) == values


def test_a_tuner_of_ones_own_with_a_further_hyperparameter(tmp_path, capsys):
    class Network(keras_tuner.HyperModel):
        def build(self, hp):
            model = network([hp.get(name) for name in GROUPS])
            model.compile(
                keras.optimizers.SGD(hp.Float("learning_rate", 1e-4, 1.0, default=0.05)),
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            )
            return model

    class Own(keras_tuner.Tuner):
        def run_trial(self, trial, x, y, validation_data):
            model = self.hypermodel.build(trial.hyperparameters)
            model.train_on_batch(x, y)
            labels = model.predict_on_batch(validation_data[0]).argmax(axis=1)
            return {"score": float((labels == validation_data[1]).mean())}

    def tuned():
        tuner = Own(oracle(max_trials=3), Network(), directory=tmp_path, project_name="own")
        tuner.search(*TRAIN, validation_data=HOLDOUT)
        return tuner

    tuner = tuned()
    first = trials(tuner)
    assert len(first) == 3
    for values, score, status in first.values():
        assert set(values) == {*GROUPS, "learning_rate"} and values["learning_rate"] == 0.05
        assert status == "COMPLETED" and 0 <= score <= 1
    best = tuner.get_best_hyperparameters(3)
    scores = [score for _, score, _ in first.values()]
    assert best[0].values == max(first.values(), key=lambda trial: trial[1])[0]
    assert [hp.values for hp in best] == [
        trial[0] for trial in sorted(first.values(), key=lambda trial: -trial[1])
    ]
    model = tuner.hypermodel.build(best[0])
    assert model.get_layer("unit2_conv").filters == best[0].get("unit2_conv")
    tuner.results_summary(1)
    printed = capsys.readouterr().out
    assert f"Score: {max(scores)}" in printed and "learning_rate: 0.05" in printed

    again = tuned()
    assert trials(again) == first
    assert again.get_best_hyperparameters()[0].values == best[0].values


def test_hyperparameters_under_a_condition_do_no_harm(tmp_path):
    class Conditional(keras_tuner.HyperModel):
        def build(self, hp):
            hp.Choice("kind", ["a", "b"])
            with hp.conditional_scope("kind", ["b"]):
                hp.Float("rate", 0.0, 1.0, default=0.5)
            return network([hp.get(name) for name in GROUPS])

    class Own(Counter):
        def run_trial(self, trial):
            self.hypermodel.build(trial.hyperparameters)
            return super().run_trial(trial)

    tuner = Own(oracle(), tmp_path, hypermodel=Conditional())
    tuner.search()
    assert [values["kind"] for values, _, _ in trials(tuner).values()] == ["a"] * TRIALS


def test_trials_are_shown_if_the_user_asks_for_it_and_else_not(tmp_path, capsys):
    search(tmp_path / "quiet")
    assert capsys.readouterr().out == ""
    made = oracle(max_trials=1)
    made.verbose = 1
    Counter(made, tmp_path / "talkative").search()
    assert "unit0_conv" in capsys.readouterr().out


def test_the_default_objective_is_the_accuracy_on_the_holdout_images():
    graph, cost = traced()
    made = RandomChannelOracle(SearchSpace(graph), cost, BUDGET, max_trials=2)
    assert (made.objective.name, made.objective.direction) == ("val_accuracy", "max")


@pytest.mark.parametrize("max_trials", [0, -1, 2.5, "3", True])
def test_what_is_no_number_of_trials_is_refused(max_trials):
    with pytest.raises(ValueError, match="`max_trials` must be an int of at least 1"):
        oracle(max_trials=max_trials)


def test_an_option_that_the_sampler_does_not_know_is_refused_by_name():
    with pytest.raises(TypeError, match="RandomSampler.* unexpected .*'max_retrials'"):
        oracle(max_retrials=1)


def test_with_fewer_candidates_than_trials_all_are_tried():
    made = oracle(max_trials=10_000)
    space, cost, budget = made.sampler.space, made.sampler.cost, made.sampler.budget
    count = len(feasible(space, cost, budget))
    assert made.max_trials == count and f"only {count} candidates" in made.note
    assert oracle(max_trials=count).note == ""
    vectors = {tuple(made._values(index).values()) for index in range(count)}
    assert len(vectors) == count
