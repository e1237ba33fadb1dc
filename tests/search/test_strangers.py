"""Strangers and liars on the chief's port: nothing they send ends, delays or changes a search."""

from __future__ import annotations

import json
import math
import socket

import grpc
import pytest
from keras_tuner.src import protos
from keras_tuner.src.engine import hyperparameters as hp_module
from keras_tuner.src.engine import trial as trial_module

import tfrcp
from tests.search.kill_search import SCORE, free_port, stored
from tests.search.processes import TRIALS, Tuner, together
from tfrcp.search import access, distributed, reports

service = protos.get_service


@pytest.fixture
def make(traced, tmp_path, monkeypatch):
    """Makes the tuner of a role; `ip` is where it takes the chief to be."""
    port, (graph, cost) = free_port(), traced
    monkeypatch.setattr(distributed, "LEASE", 1.0)
    monkeypatch.setattr(distributed, "HEARTBEAT", 0.1)
    monkeypatch.setattr(distributed, "OUTAGE", 5.0)

    def made(name, *, folder="project", objective=SCORE, ip="127.0.0.1", secret="", seed=0):
        environment = {"TUNER_ID": name, "ORACLE_IP": ip, "ORACLE_PORT": str(port)}
        for variable, value in environment.items():
            monkeypatch.setenv(f"KERASTUNER_{variable}", value)
        monkeypatch.setenv(access.SECRET, secret)
        budget = tfrcp.Budget(0.5, tolerance=0.1)
        space = tfrcp.SearchSpace(graph)
        oracle = tfrcp.RandomChannelOracle(space, cost, budget, objective, TRIALS, seed=seed)
        return Tuner(oracle, directory=str(tmp_path), project_name=folder)

    return made


@pytest.fixture
def attack(make, tmp_path):
    """Runs a search with one true worker, and an attack on its chief before that begins."""

    def run(act, **options):
        chief, liar = make("chief", **options), make("liar", **options)
        worker = make("worker", **options)
        found = []

        def attacked():
            try:
                liar.oracle.get_space()  # waits until the chief listens
                found.append(act(liar.oracle, liar))
            finally:
                worker.search()

        errors = together(chief.search, attacked)
        assert errors == [None, None], errors
        after = stored(tmp_path)
        assert len(after) == TRIALS
        for values, score, status, _ in after.values():
            assert status == "COMPLETED"
            named = {name: n for name, n in values.items() if name in chief.store._names}
            assert named == values and score == pytest.approx(1 / sum(values.values()))
        return found[0]

    return run


def refused(call, *arguments):
    """The message of a request that the chief refuses."""
    with pytest.raises(Exception, match="refuses") as error:
        call(*arguments)
    return str(error.value)


def metrics_of(value, name="score"):
    return {"metrics": {"step": 0, name: value}}


def ended(client, trial, status="COMPLETED", values=None, note=None):
    """Sends the end of a trial."""
    hyperparameters = trial.hyperparameters.copy()
    hyperparameters.values = {**trial.hyperparameters.values, **(values or {})}
    if note is not None:
        hyperparameters.values[reports.NOTE] = note if isinstance(note, str) else json.dumps(note)
    sent = trial_module.Trial(hyperparameters, trial.trial_id, status)
    client.stub.EndTrial(service().EndTrialRequest(trial=sent.to_proto()))


# Liars: workers of this search that send what cannot be.


def test_channels_that_were_not_handed_out_are_refused(attack):
    def act(client, liar):
        trial = client.create_trial("liar")
        name = next(iter(trial.hyperparameters.values))
        lie = {name: 99_999}
        return refused(lambda: ended(client, trial, values=lie, note=metrics_of(2.0)))

    assert "was handed out with" in attack(act)


def test_a_trial_that_does_not_exist_is_refused(attack):
    def act(client, liar):
        trial = client.create_trial("liar")
        trial.trial_id = "777"
        refused(client.get_trial, "777")
        refused(client.update_trial, "777", {"score": 1.0})
        refused(lambda: ended(client, trial, note={"failure": "all is lost"}))
        return refused(lambda: ended(client, trial, note=metrics_of(1.0)))

    assert "There is no trial '777'" in attack(act)


def test_an_end_without_a_score_is_refused(attack):
    def act(client, liar):
        trial = client.create_trial("liar")
        refused(lambda: ended(client, trial, status="RUNNING"))
        return refused(lambda: ended(client, trial))

    assert "without a score" in attack(act)


NOTES = (
    "{",
    "[]",
    "3",
    '{"metrics": 3}',
    '{"metrics": {"score": "high"}}',
    '{"metrics": {"score": null}}',
    '{"metrics": {"score": 1.0, "step": 1e400}}',
    '{"message": {"a": 1}}',
    '{"failure": 3}',
)


def test_notes_that_cannot_be_read_are_refused(attack):
    def act(client, liar):
        trial = client.create_trial("liar")
        return [refused(lambda n=note: ended(client, trial, note=n)) for note in NOTES]

    said = attack(act)
    assert len(said) == len(NOTES) and all("cannot be read" in text for text in said)


def test_a_failure_of_another_ones_trial_ends_nothing(attack):
    def act(client, liar):
        ids = [client.create_trial("liar").trial_id]
        trial = trial_module.Trial(client.get_space(), "0", "FAILED")
        client.tuner_id = "another"
        ended(client, trial, status="FAILED", note={"failure": "all is lost"})
        client.tuner_id = "liar"
        return ids

    assert attack(act) == ["0"]


def test_a_space_of_other_widths_is_refused(attack):
    def act(client, liar):
        space = client.get_space()
        name = space.space[0].name
        other = hp_module.HyperParameters()
        other.Int(name, 1, 99_999)
        message = refused(client.update_space, other)
        many = hp_module.HyperParameters()
        for index in range(2000):
            many.Int(f"x{index}", 1, 2)
        refused(client.update_space, many)
        return message

    assert "is another one here" in attack(act)


@pytest.mark.parametrize("value", [1.5, -0.5, 2.0])
def test_an_accuracy_out_of_range_is_refused(make, value):
    oracle = make("chief", objective="val_accuracy").store
    for scores in ({"val_accuracy": value}, {"val_accuracy": value, "loss": 0.1}):
        with pytest.raises(access.Refused, match=r"out of range.*\[0, 1\]"):
            reports.check_metrics(oracle, scores)
    reports.check_metrics(oracle, {"val_accuracy": 1.0, "loss": 7.0})
    reports.check_metrics(oracle, {"val_accuracy": math.nan})  # the oracle makes it a failure


def test_a_score_without_end_is_no_score(make, monkeypatch):
    for value in (math.inf, -math.inf, math.nan):
        tuner = make("chief", folder=str(value))
        oracle = tuner.store
        trial = oracle.create_trial("alone")
        oracle.update_trial(trial.trial_id, {"score": value})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
        assert oracle.trials[trial.trial_id].status == "FAILED"
        assert math.isnan(oracle.trials[trial.trial_id].score)


# Strangers: who are no workers of this search.


def test_raw_keras_tuner_and_noise_are_refused(attack):
    def act(client, liar):
        address = distributed.address()
        stub = protos.get_service_grpc().OracleStub(grpc.insecure_channel(address))
        codes = []
        for call, request in (
            (stub.GetSpace, service().GetSpaceRequest()),
            (stub.CreateTrial, service().CreateTrialRequest(tuner_id="stranger")),
            (stub.GetBestTrials, service().GetBestTrialsRequest(num_trials=10**6)),
            (stub.EndTrial, service().EndTrialRequest()),
            (stub.UpdateTrial, service().UpdateTrialRequest(trial_id="0")),
        ):
            with pytest.raises(grpc.RpcError) as error:
                call(request, timeout=5)
            codes.append(error.value.code())
        host, port = address.rsplit(":", 1)
        for noise in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 4096, b"PRI * HTTP/2.0\r\n\r\nSM"):
            with socket.create_connection((host, int(port)), timeout=5) as connection:
                connection.sendall(noise)
        return codes

    assert attack(act) == [grpc.StatusCode.UNAUTHENTICATED] * 5


def test_who_knows_no_secret_is_refused(make, tmp_path):
    secret = "correct horse battery"
    stranger, silent = make("stranger", secret="x" * 20), make("silent")
    chief, worker = make("chief", secret=secret), make("worker", secret=secret)
    messages = []

    def all_of_them():
        for tuner in (stranger, silent):
            with pytest.raises(RuntimeError) as error:
                tuner.search()
            messages.append(str(error.value))
        worker.search()

    assert together(chief.search, all_of_them) == [None, None]
    assert all(f"does not know the secret of the chief: see {access.SECRET}" in m for m in messages)
    assert stranger.ran == silent.ran == [] and len(stored(tmp_path)) == TRIALS


def test_a_worker_of_another_search_is_refused_by_name(make, tmp_path, capsys):
    chief, other, worker = make("chief"), make("other", seed=5, folder="x"), make("worker")

    def both():
        with pytest.raises(RuntimeError, match="'other' has another search.*its seed differs"):
            other.search()
        worker.search()

    assert together(chief.search, both) == [None, None]
    assert other.ran == [] and len(stored(tmp_path)) == TRIALS
    assert "a request was refused: The worker 'other'" in capsys.readouterr().out


@pytest.mark.parametrize("ip", ["0.0.0.0", "192.0.2.1", "::", "host.invalid"])
def test_beyond_this_machine_a_secret_is_needed(make, ip):
    chief = make("chief", ip=ip)
    with pytest.raises(ValueError, match=f"other machines can reach: set {access.SECRET}"):
        chief.search()
