"""The file that is written: what stands there before, and what is left behind."""

import os
import pathlib
from pathlib import Path

import keras
import pytest

from tests.deployment.formats import SUFFIXES, every_format
from tfrcp.deployment import export
from tfrcp.deployment.formats import FORMATS


@pytest.mark.parametrize("by_tensorflow", [True, False])
def test_a_full_disk_is_one_line(by_tensorflow, model, tmp_path, monkeypatch):
    import tensorflow as tf

    def full(self, filepath, **options):
        pathlib.Path(filepath).mkdir()
        if by_tensorflow:
            raise tf.errors.ResourceExhaustedError(
                None, None, f"{filepath}; No space left on device"
            )
        raise OSError(28, "No space left on device", filepath)

    monkeypatch.setattr(keras.Model, "export", full)
    with pytest.raises(OSError, match="Cannot write the export: No space left on device") as error:
        export(model, tmp_path / "out")
    assert error.value.errno == 28 and len(str(error.value).splitlines()) == 1
    assert os.listdir(tmp_path) == []


def test_the_name_must_tell_the_format(model, tmp_path):
    with pytest.raises(ValueError, match="must end with '.tflite'"):
        export(model, tmp_path / "out.lite", "litert")


@every_format
def test_another_file_is_not_overwritten(format, model, tmp_path):
    path = tmp_path / f"notes{SUFFIXES[format]}"
    path.write_text("my notes")
    with pytest.raises(FileExistsError, match="not an earlier export"):
        export(model, path, format, overwrite=True)
    assert path.read_text() == "my notes"
    path.unlink()
    export(model, path, format)
    export(model, path, format, overwrite=True)


def test_existing_target_is_an_error_before_any_work(model, tmp_path, monkeypatch):
    monkeypatch.setattr(FORMATS["tf_saved_model"], "write", None)  # Would fail if called.
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export(model, tmp_path / "out")


def test_overwrites_an_earlier_export_and_nothing_else(model, tmp_path):
    export(model, tmp_path / "out")
    (tmp_path / "out" / "stale").touch()
    export(model, tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out" / "stale").exists()
    assert os.listdir(tmp_path) == ["out"]
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "precious").touch()
    with pytest.raises(FileExistsError, match="not an earlier export"):
        export(model, tmp_path / "work", overwrite=True)
    assert (tmp_path / "work" / "precious").exists()


@pytest.mark.parametrize("where", ["while writing", "between the renames"])
def test_ctrl_c_leaves_everything_as_it_was(where, model, tmp_path, wrong_writer, monkeypatch):
    wrong_writer(lambda outputs: outputs)
    export(model, tmp_path / "out")
    (tmp_path / "out" / "mine").touch()
    if where == "while writing":

        def interrupt(outputs):
            raise KeyboardInterrupt

        wrong_writer(interrupt)
    else:

        def interrupt(source, target):
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(model, tmp_path / "out", overwrite=True)
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out" / "mine").exists()


def test_folder_that_is_missing_or_cannot_be_written(model, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        export(model, tmp_path / "missing" / "out")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", "scratch")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PermissionError, match="Cannot write the export: Permission denied"):
        export(model, tmp_path / "out")
