"""What ml_collections cannot set on the command line, and how binaries end."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from tests.binaries.running import DIGITS, assert_one_clear_line
from tests.small_run import REPOSITORY
from tfrcp.commands import overrides


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def configured(*arguments):
    """The default configuration after overrides alone."""
    config = load(REPOSITORY / "configs" / "default.py").get_config()
    left, found = overrides.split([f"--config.{argument}" for argument in arguments])
    assert left == []
    overrides.apply(config, found)
    return config.to_dict()


@pytest.mark.parametrize("word", ["None", "none"])
def test_fields_that_may_be_nothing(word):
    config = configured(
        *(f"search.{name}={word}" for name in ("params", "activations", "latency", "flops")),
        f"train.augment={word}",
        f"finetune.augment={word}",
        f"data.data_dir={word}",
        f"model.base={word}",
        f"data.mean={word}",
        f"search.fixed={word}",
    )
    assert [config["search"][name] for name in ("params", "activations", "latency")] == [None] * 3
    assert config["search"]["flops"] == 0 and config["search"]["fixed"] == ()
    assert config["train"]["augment"] is config["finetune"]["augment"] is None
    assert config["data"]["data_dir"] is None and config["data"]["mean"] == ()
    assert config["model"]["base"] == ""


def test_lists_of_names_and_options_of_functions():
    config = configured(
        "search.fixed=conv1,conv2*",
        "devices=GPU:0,GPU:1",
        "export.format=litert, onnx",
        "model.options.shortcut=A",
        "model.options.width=2",
        "data.options.flip=true",
        "data.options.sizes=(1, 2)",
        "data.options.name=a=b",
    )
    assert config["search"]["fixed"] == ("conv1", "conv2*")
    assert config["devices"] == ("GPU:0", "GPU:1")
    assert config["export"]["format"] == ("litert", "onnx")
    assert config["model"]["options"] == {"shortcut": "A", "width": 2}
    assert config["data"]["options"] == {"flip": True, "sizes": (1, 2), "name": "a=b"}


def test_options_of_the_file_can_be_removed():
    config = load(REPOSITORY / "configs" / "digits_resnet20.py").get_config()
    config.data.options = {"size": 3}
    overrides.apply(
        config,
        overrides.split(
            [
                "--config.model.options=none",
                "--config.model.options.a=1",
                "--config.data.options=None",
            ]
        )[1],
    )
    assert config.model.options.to_dict() == {"a": 1} and config.data.options.to_dict() == {}


def test_what_ml_collections_can_set_is_left_to_it(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    given = [
        "--config=~/x.py",
        "--workdir",
        "~/runs/x",
        "--config.search.update=none",
        "--config.strategy=none",
        "--config.search.fixed=('a','b')",
        "--config.train.epochs",
        "3",
        "--study=all",
        "--measure",
        "--model=~/a.keras",
        "--",
        "rest",
    ]
    left, found = overrides.split(given)
    assert found == {} and left == [
        "--config=/home/me/x.py",
        "--workdir=/home/me/runs/x",
        "--config.search.reconstruction=none",
        "--config.strategy=none",
        "--config.search.fixed=('a','b')",
        "--config.train.epochs=3",
        "--study=all",
        "--measure",
        "--model=/home/me/a.keras",
        "--",
        "rest",
    ]


def test_the_last_of_several_counts():
    left, found = overrides.split(["--config.search.params=none", "--config.search.params=0.5"])
    assert (left, found) == (["--config.search.params=0.5"], {})
    left, found = overrides.split(["--config.search.fixed=a", "--config.search.fixed=b,c"])
    assert (left, found) == ([], {"search.fixed": "b,c"})


@pytest.mark.parametrize(
    ("argument", "part"),
    [
        ("--config.seed=None", "seed must be a number. Received: None"),
        ("--config.search.racing=none", "racing must be true or false. Received: None"),
        ("--config.search.parms=none", "unknown field.*parms"),
        ("--config.serch.fixed=none", "unknown field.*serch"),
    ],
)
def test_what_cannot_be_nothing_is_one_clear_line(run_at_once, argument, part):
    process = run_at_once("train", DIGITS, argument)
    assert process.returncode == 2
    assert_one_clear_line(process.returncode, process.stderr, part)


# How binaries end.

SCRIPT = """
import sys
from tfrcp.commands import base

def main():
    {body}

base.run(main, needs_file=False)
"""


def start(body, **options):
    script = SCRIPT.format(body=body)
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # ignored in the background
    command = [sys.executable, "-c", script]
    return subprocess.Popen(command, cwd=REPOSITORY, preexec_fn=listen, **options)


def test_terminated_it_says_how_to_go_on():
    process = start(
        "print('ready', flush=True); __import__('signal').pause()",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert err.split("\n") == ["", "terminated; run the same command to resume", ""]


@pytest.mark.parametrize(
    "body",
    [
        # As in a callback of TensorFlow, which swallows what is raised.
        r"code = 'try:\n kill()\nexcept BaseException: pass'; "
        "exec(compile(code, '/tensorflow/x.py', 'exec'), {'kill': kill}); print('went on')",
        # As an error that another library makes of it.
        "try:\n        kill()\n    except BaseException: raise ValueError('something else')",
        "try:\n        kill()\n    except BaseException: raise TypeError('something else')",
    ],
)
@pytest.mark.parametrize(("name", "word"), [("SIGTERM", "terminated"), ("SIGINT", "interrupted")])
def test_a_signal_that_is_swallowed_or_becomes_an_error_still_ends_it(body, name, word):
    kill = f"import os, signal; kill = lambda: os.kill(os.getpid(), signal.{name})"
    process = start(
        f"{kill}\n    {body}", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + getattr(signal, name), "")
    assert err.split("\n") == ["", f"{word}; run the same command to resume", ""]


def test_nobody_reads_any_more():
    reader, writer = os.pipe()
    os.close(reader)
    body = "[print(n) for n in range(10**6)]"
    process = start(body, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, "")


def test_output_that_is_closed_or_cannot_hold_a_letter():
    body = "print('\\N{MINUS SIGN}', sys.stdout.isatty())"
    script = SCRIPT.format(body=body)
    for shell in ('exec "$0" -c "$1" >&-', 'exec "$0" -c "$1"'):
        process = subprocess.run(
            ["sh", "-c", shell, sys.executable, script],
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"},
        )
        assert (process.returncode, process.stderr) == (0, "")
