from __future__ import annotations

import json
import re

import keras
import pytest

import tfrcp
from tests.binaries.running import assert_one_clear_line
from tests.search.small_search import network
from tests.small_run import arguments


def test_profile_explains_and_counts(run, inputs):
    status, out, err = run("profile", f"--model={inputs / 'base.keras'}")
    assert (status, err) == (0, "")
    assert "unit1_conv: 10 channels" in out and "model output" in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["unpruned"] == ["20,484", "1.000", "2,031", "723"]
    assert rows["smallest"][1] == "0.039" and rows["largest"][1] == "1.000"
    assert "one multiply-add (MAC) is one FLOP" in out


def test_profile_takes_the_bounds_of_the_space(run, inputs):
    model = f"--model={inputs / 'base.keras'}"
    _, out, _ = run("profile", model, "--min_ratio=0.5", "--divisor=2")
    (smallest,) = (line.split() for line in out.splitlines() if line.startswith("smallest"))
    assert 0.2 < float(smallest[2]) < 0.4
    for flag, part in (("--min_ratio=1.5", "min_ratio"), ("--divisor=0", "divisor")):
        status, _, err = run("profile", model, flag)
        assert_one_clear_line(status, err, part)


def test_profile_of_a_network_in_which_nothing_can_be_pruned(run, tmp_path):
    path = tmp_path / "nothing.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="only")]).save(path)
    status, out, err = run("profile", f"--model={path}")
    assert "only: 3 channels, model output" in out
    assert_one_clear_line(status, err, "can be pruned")


@pytest.mark.parametrize("content", [b"", b"not a network", b"PK\x03\x04 not an archive"])
def test_profile_of_a_file_that_is_no_network(run, tmp_path, content):
    path = tmp_path / "garbage.keras"
    path.write_bytes(content)
    status, out, err = run("profile", f"--model={path}")
    assert_one_clear_line(status, err, "garbage.keras")
    assert out == ""


def test_profile_of_a_half_file(run, tmp_path):
    network().save(tmp_path / "whole.keras")
    whole = (tmp_path / "whole.keras").read_bytes()
    (tmp_path / "half.keras").write_bytes(whole[: len(whole) // 2])
    status, _, err = run("profile", f"--model={tmp_path / 'half.keras'}")
    assert_one_clear_line(status, err, "half.keras")


@pytest.fixture
def plan(run, inputs, tmp_path):
    """A channels.json of a small run, and the unpruned network."""
    for stage in ("train", "search"):
        assert run(stage, *arguments(inputs, tmp_path / "run", train__epochs=0))[0] == 0
    return tmp_path / "run"


def test_profile_builds_a_network_from_its_channels(run, plan, tmp_path):
    content = json.loads((plan / "channels.json").read_text())
    assert content["version"] == 1 and content["full"] == {
        "unit0_conv": 8,
        "unit1_conv": 10,
        "unit2_conv": 12,
    }
    assert content["unpruned"]["flops"] == 20_484
    assert content["provenance"]["criterion"] == "l1" and content["provenance"]["trials"] == 3
    given = f"--channels={plan / 'channels.json'}"
    out = tmp_path / "again.keras"
    status, printed, err = run("profile", f"--model={plan / 'base.keras'}", given, f"--out={out}")
    assert (status, err) == (0, "") and f"{content['flops']:,}" in printed
    shapes = [weights.shape for weights in keras.models.load_model(out).weights]
    pruned = keras.models.load_model(plan / "pruned.keras")
    assert shapes == [weights.shape for weights in pruned.weights]
    # The run started from a network that its builder does not make.
    status, _, err = run("profile", f"--model={plan / 'channels.json'}")
    assert_one_clear_line(status, err, "channels.json does not fit the network 'resnet20'")


def test_profile_builds_a_network_with_its_builder(run, tmp_path):
    widths = {name: max(1, n // 2) for name, n in tfrcp.models.full_channels("resnet20").items()}
    model = {"name": "resnet20", "options": {}, "input_shape": [8, 8, 1], "classes": 10}
    path = tmp_path / "channels.json"
    path.write_text(json.dumps({"version": 1, "channels": widths, "model": model}))
    status, printed, err = run("profile", f"--model={path}", f"--out={tmp_path / 'net.keras'}")
    assert (status, err) == (0, "") and "saved" in printed
    built = keras.models.load_model(tmp_path / "net.keras")
    again = tfrcp.models.resnet20((8, 8, 1), 10, list(widths.values()))
    assert [w.shape for w in built.weights] == [w.shape for w in again.weights]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{", "is no channels.json"),
        ("[]", "is no channels.json"),
        ('{"version": 1, "channels": {"a": 0}}', "is no channels.json"),
        ('{"version": 2, "channels": {"a": 1}}', "is of version 2"),
        ('{"version": 1, "channels": {"a": 1}}', "the unpruned network is needed"),
        (
            '{"version": 1, "channels": {"a": 1}, "model": {"name": "nope", "input_shape": [1]}}',
            "'nope'",
        ),
    ],
)
def test_profile_of_a_file_that_is_no_channels_json(content, part, run, tmp_path):
    (tmp_path / "channels.json").write_text(content)
    status, _, err = run("profile", f"--model={tmp_path / 'channels.json'}")
    assert_one_clear_line(status, err, part)


def test_profile_measures_and_recommends_a_divisor(run, tmp_path):
    network((32, 32, 32)).save(tmp_path / "wide.keras")
    given = (f"--model={tmp_path / 'wide.keras'}", "--measure", "--batch_size=2")
    status, out, err = run("profile", *given)
    assert (status, err) == (0, "")
    rows = [line.split() for line in out.splitlines() if line.strip()]
    assert {row[0] for row in rows} >= {"divisor", "1", "8"}
    assert re.search(r"Recommended: divisor [18]\.", out)
    status, _, err = run("profile", *given, "--format=nope")
    assert_one_clear_line(status, err, "`format` must be one of", "'nope'")
