from __future__ import annotations

import json
import os
import pathlib
import time

import keras
import numpy as np
import pytest

from tfrcp.run.workdir import Workdir


def network():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="only")])


def names(folder):
    """Files that a user sees."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.fixture
def workdir(tmp_path):
    return Workdir(tmp_path / "run")


# The folder.


def test_the_folder_is_made_with_its_parents_and_may_be_any_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("relative/run", tmp_path / "with a space" / "ä", str(tmp_path / "text")):
        made = Workdir(path)
        assert made.path.is_dir() and names(made.path) == {"metrics.json"}
        assert made.metrics["stages"] == []


@pytest.mark.parametrize("year", [1970, 2108])
def test_a_clock_with_which_nothing_can_be_saved_is_refused_at_once(tmp_path, monkeypatch, year):
    now = time.struct_time((year, *time.localtime()[1:]))
    monkeypatch.setattr(time, "localtime", lambda *_: now)
    with pytest.raises(ValueError, match=f"clock tells the year {year}.*Set the clock"):
        Workdir(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_old_folder_is_taken_as_it_is(workdir):
    workdir.update(name="first")
    before = (workdir / "metrics.json").read_bytes()
    assert Workdir(workdir.path).metrics["name"] == "first"
    assert (workdir / "metrics.json").read_bytes() == before


@pytest.mark.parametrize("below", ["", "run", "run/deep"])
def test_a_folder_that_cannot_be_made_is_refused(tmp_path, below):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="cannot be written.*--workdir") as error:
        Workdir(tmp_path / "file" / below)
    assert str(tmp_path / "file") in str(error.value)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_path_that_no_folder_can_have_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("link", "loop"):
        with pytest.raises(ValueError, match="leads to no folder.*--workdir"):
            Workdir(tmp_path / name)
    with pytest.raises(ValueError, match="UTF-8.*--workdir"):
        Workdir(os.fsdecode(bytes(tmp_path) + b"/\xff"))


# What is written is whole.


def test_a_text_that_fails_half_way_leaves_the_old_one(workdir, monkeypatch):
    workdir.write("channels.json", "old")

    def full_disk(path, text):
        with open(path, "w") as file:
            file.write(text[: len(text) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space left"):
        workdir.write("channels.json", "new and longer")
    with pytest.raises(OSError, match="No space left"):
        workdir.write("other.json", "new")
    assert (workdir / "channels.json").read_text() == "old"
    assert names(workdir.path) == {"metrics.json", "channels.json"}


def test_a_model_that_fails_half_way_leaves_the_old_one(workdir, monkeypatch):
    model = network()
    workdir.save_model("base.keras", model)
    save = keras.Model.save

    def full_disk(self, path, *args, **kwargs):
        save(self, path, *args, **kwargs)
        os.truncate(path, 100)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full_disk)
    for name in ("base.keras", "pruned.keras"):
        with pytest.raises(OSError, match="No space left"):
            workdir.save_model(name, model)
    assert names(workdir.path) == {"metrics.json", "base.keras"}
    loaded = workdir.load_model("base.keras", "train")
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])


def test_updates_replace_whole_entries(workdir):
    workdir.update(name="run", results={"before": 1})
    workdir.update(results={"after": 2})
    assert workdir.metrics["name"] == "run" and workdir.metrics["results"] == {"after": 2}


def test_a_model_that_is_not_there_names_the_stage_to_run(workdir):
    with pytest.raises(ValueError, match="base.keras is missing: run the stage 'train' first"):
        workdir.load_model("base.keras", "train")


@pytest.mark.parametrize("content", ["", '{"stages": [', "[]", "null", "\ufffd\x00"])
def test_a_damaged_metrics_file_is_named(workdir, content):
    (workdir / "metrics.json").write_text(content)
    with pytest.raises(ValueError, match="metrics.json.*--workdir"):
        Workdir(workdir.path)
    assert (workdir / "metrics.json").read_text() == content


def test_a_metrics_file_that_is_not_text_is_named(workdir):
    (workdir / "metrics.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="metrics.json.*--workdir"):
        Workdir(workdir.path)


# Stages.


def run(workdir, config=None, *, name="train", outputs=("base.keras",), fail=False):
    """Runs a stage that makes its outputs; tells whether it was needed."""
    with workdir.stage(name, {"seed": 0} if config is None else config, *outputs) as needed:
        if needed:
            if fail:
                raise KeyboardInterrupt
            for output in outputs:
                (workdir / output).write_text("made")
    return needed


def test_a_stage_whose_result_stands_is_not_run_again(workdir, capsys):
    assert run(workdir) and not run(workdir) and not run(Workdir(workdir.path))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "train: starts" and lines[1].startswith("train: done in ")
    assert lines[1].endswith(" s") and lines[2:] == ["train: already complete"] * 2
    (stage,) = workdir.metrics["stages"]
    assert (stage["name"], stage["config"]) == ("train", {"seed": 0}) and stage["seconds"] >= 0


def test_a_stage_that_was_interrupted_goes_on(workdir, capsys):
    with pytest.raises(KeyboardInterrupt):
        run(workdir, fail=True)
    assert workdir.metrics["stages"][0]["seconds"] is None
    assert run(workdir) and not run(workdir)
    assert "train: resumes" in capsys.readouterr().out
    assert len(workdir.metrics["stages"]) == 1


def test_a_stage_whose_output_is_gone_is_run_again(workdir):
    run(workdir, outputs=("base.keras", "channels.json"))
    (workdir / "channels.json").unlink()
    assert run(workdir, outputs=("base.keras", "channels.json"))
    assert names(workdir.path) == {"metrics.json", "base.keras", "channels.json"}


def test_stages_are_told_apart(workdir):
    assert run(workdir) and run(workdir, name="search", outputs=("pruned.keras",))
    assert [stage["name"] for stage in workdir.metrics["stages"]] == ["train", "search"]
    (workdir / "base.keras").unlink()
    assert run(workdir) and not run(workdir, name="search", outputs=("pruned.keras",))


def test_another_configuration_is_refused_and_every_difference_named(workdir):
    old = {"seed": 0, "search": {"flops": 0.5, "fixed": ["conv1"], "params": None}}
    new = {"seed": 1, "search": {"flops": 0.25, "fixed": [], "params": None}}
    run(workdir, old)
    before = (workdir / "metrics.json").read_bytes()
    with pytest.raises(ValueError) as error:
        run(workdir, new)
    message = str(error.value)
    for part in (
        "'train'",
        str(workdir.path),
        "seed was 0 and is now 1",
        "search.flops was 0.5 and is now 0.25",
        "search.fixed was ['conv1'] and is now []",
        "--workdir",
    ):
        assert part in message
    assert "params" not in message
    with pytest.raises(ValueError, match="seed was 0 and is now 1"):
        workdir.check("train", new)
    assert (workdir / "metrics.json").read_bytes() == before
    assert not run(workdir, old)


def test_a_field_more_or_less_is_a_difference(workdir):
    run(workdir, {"seed": 0})
    with pytest.raises(ValueError, match="racing was None and is now True"):
        run(workdir, {"seed": 0, "racing": True})


def test_what_json_does_not_tell_apart_is_no_difference(workdir):
    run(workdir, {"fixed": (), "mean": (0.5,)})
    assert not run(workdir, {"fixed": [], "mean": [0.5]})


def test_a_folder_is_used_by_one_at_a_time(workdir):
    other = Workdir(workdir.path)
    with workdir.stage("train", {}) as needed:
        assert needed
        with pytest.raises(ValueError, match="(?i)another run"):
            run(other, name="search", outputs=())
    assert run(other, name="search", outputs=())


def test_what_is_recorded_can_be_read_by_any_json_reader(workdir):
    run(workdir)
    workdir.update(search={"trials": [{"score": 0.5}]})

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    json.loads((workdir / "metrics.json").read_text(), parse_constant=refuse)
