from __future__ import annotations

import functools
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import keras_tuner
import numpy as np
import pytest
from keras_tuner.engine import base_tuner

import tfrcp
from tests.search.small_search import GROUPS, HOLDOUT, TRAIN, network
from tfrcp import Budget, CostModel, RandomChannelOracle, SearchSpace

REPOSITORY = pathlib.Path(__file__).parents[2]
BUDGET = Budget(0.5, tolerance=0.05)
TRIALS = 5


@functools.cache
def traced():
    graph = tfrcp.trace(network())
    return graph, CostModel(graph)


def oracle(*, budget=BUDGET, space=None, max_trials=TRIALS, seed=0, **options):
    graph, cost = traced()
    return RandomChannelOracle(
        space=SearchSpace(graph, **(space or {})),
        cost=cost,
        budget=budget,
        objective=keras_tuner.Objective("score", "max"),
        max_trials=max_trials,
        seed=seed,
        **options,
    )


class Killed(BaseException):
    """Stands for a kill -9: nothing after it runs."""


class Endless(BaseException):
    """The search does not come to an end."""


class Counter(base_tuner.BaseTuner):
    """A tuner of one's own that needs no data: the score is a function of the channels."""

    def __init__(self, made, directory, before=None, **options):
        self.before = before or (lambda trial: None)
        self.ran = []
        super().__init__(made, directory=str(directory), project_name="project", **options)

    def run_trial(self, trial):
        if len(self.ran) > 2 * self.oracle.max_trials:
            raise Endless
        self.before(trial)
        self.ran.append(trial.trial_id)
        values = trial.hyperparameters.values
        return {"score": float(sum((7 * i + 1) * values[name] for i, name in enumerate(GROUPS)))}


def search(directory, before=None, **options):
    tuner = Counter(oracle(**options), directory, before)
    tuner.search()
    return tuner


def trials(tuner):
    """What the user gets: id, channels and score of every trial."""
    return {
        trial.trial_id: (trial.hyperparameters.values, trial.score, trial.status)
        for trial in tuner.oracle.trials.values()
    }


def stored(directory):
    """What stands on the disk, by trial id."""
    found = {}
    for file in pathlib.Path(directory, "project").glob("trial_*/trial.json"):
        state = json.loads(file.read_text())
        assert state["trial_id"] not in found
        values = state["hyperparameters"]["values"]
        found[state["trial_id"]] = (values, state["score"], state["status"])
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return trials(search(tmp_path_factory.mktemp("undisturbed")))


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
    with pytest.raises(ValueError, match="`max_trials` must be a positive int"):
        oracle(max_trials=max_trials)


def test_an_option_that_the_sampler_does_not_know_is_refused_by_name():
    with pytest.raises(TypeError, match="RandomSampler.* unexpected .*'max_retrials'"):
        oracle(max_retrials=1)


def test_more_trials_than_feasible_vectors_are_refused_at_the_start():
    with pytest.raises(ValueError, match=r"Found \d+ distinct .* The space reaches"):
        oracle(max_trials=10_000)


# The same trials, whatever happens.


def test_a_seed_tells_the_trials(tmp_path, undisturbed):
    assert trials(search(tmp_path / "again")) == undisturbed
    other = trials(search(tmp_path / "other", seed=1))
    assert other.keys() == undisturbed.keys()
    assert [t[0] for t in other.values()] != [t[0] for t in undisturbed.values()]


def test_a_finished_search_runs_nothing_again(tmp_path, undisturbed):
    assert search(tmp_path).ran == list(undisturbed)
    again = search(tmp_path)
    assert again.ran == [] and trials(again) == undisturbed
    assert again.remaining_trials == 0


def test_more_trials_later_go_on_where_the_search_ended(tmp_path, undisturbed):
    search(tmp_path, max_trials=2)
    later = search(tmp_path)
    assert trials(later) == undisturbed and later.ran == list(undisturbed)[2:]


def test_more_digits_in_the_trial_numbers_repeat_nothing(tmp_path):
    search(tmp_path / "grown", max_trials=3)
    grown = search(tmp_path / "grown", max_trials=12)
    straight = search(tmp_path / "straight", max_trials=12)
    assert len(grown.ran) == 9
    assert [t[0] for t in trials(grown).values()] == [t[0] for t in trials(straight).values()]


def test_fewer_trials_later_are_the_first_ones(tmp_path, undisturbed):
    search(tmp_path)
    fewer = search(tmp_path, max_trials=2)
    assert fewer.ran == [] and trials(fewer) == dict(list(undisturbed.items())[:2])


def test_killed_in_another_process_the_search_goes_on_in_this_one(tmp_path, undisturbed):
    script = (
        "import os\n"
        "from tests.search.test_oracles import search\n"
        "def die(trial):\n"
        "    if trial.trial_id == '3':\n"
        "        os._exit(9)\n"
        f"search({str(tmp_path)!r}, die)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == 9, killed.stderr
    done = {name: trial for name, trial in stored(tmp_path).items() if trial[2] == "COMPLETED"}
    assert done == {name: undisturbed[name] for name in ("0", "1", "2")}
    tuner = search(tmp_path)
    assert tuner.ran == ["3", "4"] and trials(tuner) == undisturbed


def test_ctrl_c_in_a_trial_loses_that_trial_alone(tmp_path, undisturbed):
    def interrupt(trial):
        if trial.trial_id == "2":
            raise KeyboardInterrupt

    tuner = Counter(oracle(), tmp_path, interrupt)
    with pytest.raises(KeyboardInterrupt):
        tuner.search()
    tuner.before = lambda trial: None
    tuner.search()  # in the same process
    assert tuner.ran == list(undisturbed) and trials(tuner) == undisturbed
    assert stored(tmp_path) == undisturbed


def crash_at(monkeypatch, moment):
    """Lets the process die around its `moment`-th step on the disk; tells whether it will have."""
    steps, died = itertools.count(), []

    def dying(function, partly=None):
        def call(*args, **kwargs):
            if not str(args[0]).startswith(str(call.folder)):
                return function(*args, **kwargs)
            if died:
                raise Killed  # nor does it clean up
            for how in ("before", "partly", "after"):
                if how == "partly" and not partly:
                    continue
                if how == "after":
                    function(*args, **kwargs)
                if next(steps) == moment:
                    if how == "partly":
                        partly(*args, **kwargs)
                    died.append(moment)
                    raise Killed
            return None

        return call

    wrapped = []
    write = pathlib.Path.write_text
    for owner, name, partly in (
        (os, "mkdir", None),
        (os, "replace", None),
        (pathlib.Path, "write_text", lambda path, text: write(path, text[: len(text) // 2])),
        (pathlib.Path, "unlink", None),
    ):
        wrapped.append(dying(getattr(owner, name), partly))
        monkeypatch.setattr(owner, name, wrapped[-1])
    return wrapped, died


def test_whenever_it_is_killed_the_search_goes_on_and_ends_the_same(
    tmp_path, undisturbed, monkeypatch
):
    expected = dict(list(undisturbed.items())[:3])
    moment, broken = 0, []
    while True:
        folder = tmp_path / str(moment)
        tuner = Counter(oracle(max_trials=3), folder)
        with monkeypatch.context() as patch:
            wrapped, died = crash_at(patch, moment)
            for function in wrapped:
                function.folder = folder
            try:
                tuner.search()
            except Killed:
                pass
        if not died:
            break
        try:
            finished = {name for name, trial in stored(folder).items() if trial[1] is not None}
            again = search(folder, max_trials=3)
            if trials(again) != expected or stored(folder) != expected:
                broken.append((moment, "other trials"))
            if finished & set(again.ran):
                broken.append((moment, "a finished trial was run again"))
        except Exception as error:
            broken.append((moment, f"{type(error).__name__}: {error}"))
        moment += 1
    assert moment > 15  # a folder and two files at least in each trial, before and after each
    assert not broken


DAMAGES = {
    "truncated": lambda text: text[: len(text) // 2].encode(),
    "empty": lambda text: b"",
    "zeros": lambda text: bytes(len(text)),
    "not text": lambda text: b"\xff\xfe\x00\x9c",
    "null": lambda text: b"null",
    "a list": lambda text: b"[]",
    "no entries": lambda text: b"{}",
    "no hyperparameters": lambda text: json.dumps(
        json.loads(text) | {"hyperparameters": None}
    ).encode(),
    "no metrics": lambda text: json.dumps(json.loads(text) | {"metrics": 3}).encode(),
    "no score": lambda text: json.dumps(json.loads(text) | {"score": None}).encode(),
    "of another trial": lambda text: json.dumps(json.loads(text) | {"trial_id": "1"}).encode(),
    "missing": lambda text: None,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_trial_file_is_run_again_and_nothing_else(tmp_path, damage, undisturbed):
    search(tmp_path)
    file = tmp_path / "project" / "trial_2" / "trial.json"
    content = DAMAGES[damage](file.read_text())
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    tuner = search(tmp_path)
    assert tuner.ran == ["2"] and trials(tuner) == undisturbed
    assert stored(tmp_path) == undisturbed


@pytest.mark.parametrize("which", ["0", "2", "4"])
def test_a_trial_folder_that_is_gone_is_made_again(tmp_path, which, undisturbed):
    search(tmp_path)
    shutil.rmtree(tmp_path / "project" / f"trial_{which}")
    tuner = search(tmp_path)
    assert tuner.ran == [which]
    assert sorted(trials(tuner).items()) == sorted(undisturbed.items())


def test_what_else_lies_in_the_folder_is_left_alone(tmp_path, undisturbed):
    search(tmp_path)
    for name in ("trial_notes", "trial_", "plots"):
        (tmp_path / "project" / name).mkdir()
    (tmp_path / "project" / "trial_1" / "trial.json.123.tmp").write_text("{")
    tuner = search(tmp_path)
    assert tuner.ran == [] and trials(tuner) == undisturbed


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"seed": 1}, "seed"),
        ({"budget": Budget(0.3, tolerance=0.05)}, "budget"),
        ({"space": {"min_ratio": 0.5}}, "space"),
        ({"space": {"fixed": ("unit0_conv",)}}, "space"),
    ],
)
def test_a_search_with_other_arguments_is_refused(tmp_path, change, name, undisturbed):
    search(tmp_path)
    with pytest.raises(ValueError, match=name) as error:
        search(tmp_path, **change)
    message = str(error.value)
    assert str(tmp_path) in message and "overwrite=True" in message
    assert " has " in message and " would have " in message  # the difference
    assert trials(search(tmp_path)) == undisturbed


def test_overwrite_starts_anew(tmp_path):
    search(tmp_path)
    tuner = Counter(oracle(seed=1), tmp_path, overwrite=True)
    tuner.search()
    assert len(tuner.ran) == TRIALS


# Trials that fail.


def test_a_trial_that_fails_is_passed_over_and_not_tried_again(tmp_path, undisturbed):
    def fail(trial):
        if trial.trial_id == "1":
            raise ValueError("no luck")

    tuner = search(tmp_path, fail)
    assert tuner.ran == ["0", "2", "3", "4"]
    values, score, status = trials(tuner)["1"]
    assert (values, score, status) == (undisturbed["1"][0], None, "FAILED")
    assert "no luck" in tuner.oracle.get_trial("1").message
    again = search(tmp_path)
    assert again.ran == [] and trials(again)["1"][2] == "FAILED"


def test_a_trial_is_retried_with_the_same_channels_if_the_user_wants(tmp_path, undisturbed):
    luck = iter([False, True])

    def fail_once(trial):
        if trial.trial_id == "1" and not next(luck):
            raise ValueError("no luck")

    assert trials(search(tmp_path, fail_once, max_retries_per_trial=1)) == undisturbed


def test_three_failures_in_a_row_end_the_search_with_their_cause(tmp_path):
    def fail(trial):
        raise ValueError("no luck")

    with pytest.raises(RuntimeError, match="(?s)exceeded the limit of 3.*no luck"):
        search(tmp_path, fail)
