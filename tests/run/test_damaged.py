"""Files of a working folder that were damaged, replaced, or left by a process that was killed."""

from __future__ import annotations

import json
import os

import pytest

from tests.run.results import assert_same_weights, load, metrics
from tests.run.test_workdir import network, run
from tests.small_run import config
from tfrcp.configs import default
from tfrcp.run import Pipeline
from tfrcp.run.locking import BusyError
from tfrcp.run.workdir import Workdir


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    path.write_bytes(b"")


DAMAGES = (flip, cut, empty)


@pytest.fixture
def workdir(tmp_path):
    return Workdir(tmp_path / "run")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_result_is_named_set_aside_and_made_again(workdir, damage, capsys):
    run(workdir)
    whole = (workdir / "base.keras").read_bytes()
    damage(workdir / "base.keras")
    damaged = (workdir / "base.keras").read_bytes()
    capsys.readouterr()
    assert not workdir.is_complete("train", {"seed": 0}, "base.keras")
    assert run(workdir) and not run(workdir)
    assert (workdir / "base.keras").read_bytes() == whole
    assert (workdir / "base.keras.damaged").read_bytes() == damaged
    assert "base.keras is damaged, or was replaced" in capsys.readouterr().out


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_network_is_not_loaded(workdir, damage):
    with workdir.stage("train", {}, "base.keras"):
        workdir.save_model("base.keras", network())
    assert workdir.load_model("base.keras", "train").count_params() == 9
    damage(workdir / "base.keras")
    with pytest.raises(ValueError, match="base.keras is damaged.*Run the stage 'train' again"):
        workdir.load_model("base.keras", "train")


def test_a_damaged_network_of_an_earlier_version_is_named(workdir):
    (workdir / "base.keras").write_bytes(b"no network")
    with pytest.raises(ValueError, match="base.keras cannot be read.*'train' again"):
        workdir.load_model("base.keras", "train")


def test_a_replaced_folder_of_files_is_noticed(workdir):
    with workdir.stage("export", {}, "export"):
        (workdir / "export").mkdir()
        for name in ("a", "b"):
            (workdir / "export" / name).write_text(name)
    assert workdir.is_sound("export")
    (workdir / "export" / "a").rename(workdir / "export" / "c")
    assert not workdir.is_sound("export")


def test_killed_before_the_files_have_their_names_the_stage_is_complete(workdir, monkeypatch):
    """What is recorded is what counts: nothing is made twice, nothing is lost."""

    def killed(self, name):
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Workdir, "_reveal", killed)
        with pytest.raises(SystemExit):
            with workdir.stage("train", {"seed": 0}, "base.keras"):
                workdir.save_model("base.keras", network())
    assert not (workdir / "base.keras").exists()
    again = Workdir(workdir.path)
    assert not run(again) and again.load_model("base.keras", "train").count_params() == 9


def test_killed_before_the_record_the_old_result_stands(workdir):
    run(workdir)
    with pytest.raises(SystemExit):
        with workdir.stage("search", {}, "pruned.keras"):
            workdir.save_model("pruned.keras", network())
            raise SystemExit("killed")
    assert not (workdir / "pruned.keras").exists()
    assert (workdir / ".new.pruned.keras").exists()
    with Workdir(workdir.path).alone():
        pass
    assert not (workdir / ".new.pruned.keras").exists()


def test_what_killed_processes_left_is_cleared(workdir):
    (workdir / "export").mkdir()
    (workdir / "backup" / "base").mkdir(parents=True)
    for name in (
        ".new.base.keras",
        ".tmp.base.keras",
        "backup/base/.tmp.training.npz",
    ):
        (workdir / name).write_text("half")
    (workdir / "export" / ".tmp.saved_model").mkdir()
    (workdir / "mine.txt").write_text("the user's")
    Workdir(workdir.path)
    left = {str(p.relative_to(workdir.path)) for p in workdir.path.rglob("*") if p.is_file()}
    assert left == {"metrics.json", ".metrics.copy.json", ".lock", "mine.txt"}
    assert not list((workdir / "export").iterdir())


def test_what_is_not_ours_is_not_cleared(workdir, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    for folder in (elsewhere / ".git", elsewhere / ".tmp.x", workdir / "backup" / "base" / ".git"):
        folder.mkdir(parents=True)
    (workdir / "export").symlink_to(elsewhere)
    Workdir(workdir.path)
    assert {path.name for path in elsewhere.iterdir()} == {".git", ".tmp.x"}
    assert (workdir / "backup" / "base" / ".git").is_dir()


@pytest.mark.parametrize("name", ["metrics.json", "logs/base.csv", ".lock", "search/p/trial.json"])
def test_what_has_no_end_is_named_and_not_read(workdir, name):
    path = workdir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        path.unlink(missing_ok=True)
        make(path)
        with pytest.raises(ValueError, match=f"{name} is no file but a pipe"):
            Workdir(workdir.path)


def test_a_link_in_place_of_the_lock_is_not_followed(workdir, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("the user's")
    (workdir / ".lock").unlink()
    (workdir / ".lock").symlink_to(other)
    with pytest.raises(ValueError, match=r"links.*\.lock"):
        Workdir(workdir.path)
    assert other.read_text() == "the user's"


def test_a_folder_that_is_busy_is_not_touched(workdir):
    run(workdir)
    with Workdir(workdir.path).alone():
        before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in workdir.path.iterdir()}
        other = Workdir(workdir.path)
        for act in (lambda: run(other), lambda: run(other, {"seed": 1})):
            with pytest.raises(BusyError, match=f"process {os.getpid()}"):
                act()
        assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in workdir.path.iterdir()} == before


def test_a_lock_is_held_for_all_of_a_job(workdir):
    with workdir.alone():
        run(workdir)  # takes it again
        with pytest.raises(BusyError):
            run(Workdir(workdir.path), name="search", outputs=())


@pytest.mark.parametrize(
    "spoil",
    [
        {"stages": None},
        {"stages": {"name": "train"}},
        {"stages": [{"name": "train", "seconds": "1", "config": {}}]},
        {"stages": [1]},
        {"files": {"base.keras": 3}},
        {"training": []},
        {"results": "x"},
    ],
)
def test_metrics_of_another_shape_are_named_with_a_way_out(workdir, spoil):
    run(workdir)
    found = json.loads((workdir / "metrics.json").read_text())
    (workdir / "metrics.json").write_text(json.dumps({**found, **spoil}))
    with pytest.raises(ValueError, match=r"metrics.json.*\.metrics\.copy\.json in its place"):
        Workdir(workdir.path)
    (workdir / ".metrics.copy.json").replace(workdir / "metrics.json")
    assert not run(Workdir(workdir.path))


def test_edited_figures_are_said_to_be(workdir, capsys):
    run(workdir)
    workdir.update(results={"after": {"test_accuracy": 0.5}})
    Workdir(workdir.path)
    assert "edited" not in capsys.readouterr().out
    text = (workdir / "metrics.json").read_text()
    (workdir / "metrics.json").write_text(text.replace("0.5", "0.9"))
    Workdir(workdir.path)
    assert "was edited or is damaged" in capsys.readouterr().out


def test_a_field_that_was_renamed_is_no_other_configuration(workdir):
    run(workdir, {"search": {"update": "batch_norm"}})
    assert not run(workdir, {"search": {"reconstruction": "batch_norm"}})
    with pytest.raises(ValueError, match="search.reconstruction was 'batch_norm' and is now"):
        run(workdir, {"search": {"reconstruction": "none"}})


def test_fields_that_are_new_are_no_other_configuration(workdir):
    new = {name: default.recipe().to_dict() for name in ("train", "finetune")}
    old = {
        name: {key: value for key, value in part.items() if not key.startswith("sparsity")}
        for name, part in new.items()
    }
    run(workdir, old)
    assert not run(workdir, new)
    new["train"]["sparsity_strength"] = 1e-2
    with pytest.raises(ValueError, match="train.sparsity_strength was 0.0001 and is now 0.01"):
        run(workdir, new)


@pytest.mark.nightly
def test_a_damaged_winner_is_found_again(copy, finished, inputs, capsys):
    flip(copy / "pruned.keras")
    with pytest.raises(ValueError, match="pruned.keras is damaged.*'search' again"):
        Pipeline(config(inputs), copy).load("pruned.keras", "search")
    Pipeline(config(inputs), copy).prune()
    assert "search: resumes" in capsys.readouterr().out
    assert_same_weights(load(copy, "pruned.keras"), load(finished, "pruned.keras"))


def test_figures_that_cannot_be_read_name_the_file(copy, inputs):
    found = metrics(copy)
    found["search"]["best"] = "nobody"
    (copy / "metrics.json").write_text(json.dumps(found))
    with pytest.raises(ValueError, match="metrics.json was edited or is damaged"):
        Pipeline(config(inputs), copy).outcome("search")
