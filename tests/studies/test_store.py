from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from tfrcp.studies import settings
from tfrcp.studies import store as module
from tfrcp.studies.store import Store

# A process that shares a folder; it imports the one module without the packages around it, and so
# without TensorFlow.
WORKER = """
import pathlib, sys, time, types
benchmark = pathlib.Path(sys.argv[1]).parent
for name, path in (("tfrcp", benchmark.parent), ("tfrcp.studies", benchmark)):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(path)]
from tfrcp.studies import store
folder, me, names, pause = pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4].split(), sys.argv[5]

def work(name):
    with open(folder / "log", "a") as log:
        log.write(f"{me} {name}\\n")
    time.sleep(float(pause))
    return {"by": me}

shared = store.Store(folder, heartbeat=0.1, lease=1.0)
shared.run({name: lambda name=name: work(name) for name in names})
"""


def start(folder, me, names, pause):
    command = [sys.executable, "-c", WORKER, module.__file__, str(folder), me, " ".join(names)]
    return subprocess.Popen([*command, str(pause)])


def log(folder):
    return [line.split() for line in (folder / "log").read_text().splitlines()]


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_two_processes_never_do_the_same(tmp_path):
    names = [f"unit{i}" for i in range(30)]
    processes = [start(tmp_path, f"p{i}", names, 0.02) for i in range(3)]
    assert [process.wait(timeout=30) for process in processes] == [0, 0, 0]
    done = log(tmp_path)
    assert sorted(name for _, name in done) == sorted(names)
    assert len({me for me, _ in done}) > 1
    assert not list(tmp_path.glob("*.claim.*")) and not list(tmp_path.glob(".*.tmp"))
    assert all(Store(tmp_path).is_complete(name) for name in names)


def test_what_a_killed_process_was_at_is_done_by_another(tmp_path):
    killed = start(tmp_path, "first", ["a", "b"], 60)
    wait_for((tmp_path / "log").exists)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    second = start(tmp_path, "second", ["a", "b"], 0)
    assert second.wait(timeout=20) == 0
    assert log(tmp_path) == [["first", "a"], ["second", "b"], ["second", "a"]]
    assert Store(tmp_path).get("a") == {"by": "second"}


def test_one_who_lives_keeps_its_claim_however_long_it_takes(tmp_path):
    slow = start(tmp_path, "slow", ["a"], 2.5)  # longer than the lease
    wait_for((tmp_path / "log").exists)
    other = start(tmp_path, "other", ["a"], 0)
    assert slow.wait(timeout=20) == 0 and other.wait(timeout=20) == 0
    assert log(tmp_path) == [["slow", "a"]]


def test_a_failure_is_kept_with_its_reason(tmp_path):
    def fail():
        raise ArithmeticError("it diverged")

    told = []
    results = Store(tmp_path).run(
        {"bad": fail, "good": lambda: {"value": 1}}, lambda *result: told.append(result)
    )
    assert results == {"bad": {"error": "ArithmeticError: it diverged"}, "good": {"value": 1}}
    assert told == list(results.items())
    again = Store(tmp_path).run({"bad": lambda: {"value": 2}})
    assert again == {"bad": results["bad"]}


def test_an_interrupted_unit_is_free_at_once(tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).run({"a": lambda: {"value": 1}, "b": interrupt})
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_result_of_one_who_was_taken_for_dead_does_not_count(tmp_path):
    def work():
        (tmp_path / "a.claim.1").touch()  # another has taken over meanwhile
        (tmp_path / "a.json").write_text(json.dumps({"by": "other"}))
        return {"by": "me"}

    assert Store(tmp_path).run({"a": work}) == {"a": {"by": "other"}}


@pytest.mark.parametrize("text", ["{", "", "[1]", "3"])
def test_a_file_that_is_no_result_is_named(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match="a.json is no valid JSON"):
        Store(tmp_path).get("a")


@pytest.mark.parametrize("text", ["{", "", "[]", "{}", "3"])
def test_damaged_settings_of_a_study_are_named(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(ValueError, match="settings.json is damaged.*another --workdir"):
        settings.read(tmp_path / "settings.json")
    with pytest.raises(ValueError, match="it has no settings.json"):
        settings.read(tmp_path / "none" / "settings.json")
