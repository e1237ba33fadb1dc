import os
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np
import pytest

from tfrcp.export import export

module = sys.modules["tfrcp.export"]  # The package has a function of this name.


def image_model():
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    x = keras.layers.BatchNormalization()(x)
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return image_model()


@pytest.fixture
def wrong_writer(monkeypatch):
    """A writer whose export answers `change` of the truth."""

    def use(change):
        def writer(model, target):
            target.mkdir()
            (target / "saved_model.pb").write_bytes(b"12345")
            return lambda inputs: change(model(inputs))

        monkeypatch.setitem(module._WRITERS, "tf_saved_model", writer)

    return use


def test_writes_a_folder_that_a_new_process_loads_with_tensorflow_alone(model, tmp_path):
    images = np.random.default_rng(0).random((5, 6, 6, 3)).astype("float32")
    result = export(model, tmp_path / "out")
    np.save(tmp_path / "images.npy", images)
    code = """
import sys, numpy, tensorflow
loaded = tensorflow.saved_model.load("out")
images = numpy.load("images.npy")
numpy.save("by_function.npy", loaded.serve(images))
signature = loaded.signatures["serving_default"]
(name,) = signature.structured_input_signature[1]
(output,) = signature(**{name: tensorflow.constant(images)}).values()
numpy.save("by_signature.npy", output)
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    for name in ("by_function", "by_signature"):
        outputs = np.load(tmp_path / f"{name}.npy")
        np.testing.assert_allclose(outputs, model(images, training=False), atol=1e-5)
    assert result.path == tmp_path / "out"


def test_says_what_it_wrote(model, tmp_path):
    result = export(model, str(tmp_path / "out"))
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert result.bytes == sum(file.stat().st_size for file in files) > 1000
    assert 0.0 <= result.max_difference < 1e-4
    assert os.fspath(result) == str(tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("structure", ["list", "dict", "sequential", "free size", "integers"])
def test_other_inputs_and_outputs(structure, tmp_path):
    a, b = keras.Input((4,), name="a"), keras.Input((5,), name="b")
    y = keras.layers.Dense(3, name="y")(keras.layers.Concatenate()([a, b]))
    z = keras.layers.Dense(2, name="z")(b)
    sample = None
    if structure == "list":
        built = keras.Model([a, b], [y, z])
    elif structure == "dict":
        built = keras.Model({"b": b, "a": a}, {"z": z, "y": y})
        sample = {"a": np.ones((1, 4)), "b": np.ones((1, 5))}
    elif structure == "sequential":
        built = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    elif structure == "free size":
        inputs = keras.Input((None, None, 3))
        built = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
        sample = np.ones((3, 5, 7, 3))
    else:
        inputs = keras.Input((6,), dtype="int32")
        built = keras.Model(inputs, keras.layers.Embedding(2, 4)(inputs))
    assert export(built, tmp_path / "out", sample=sample).max_difference < 1e-4


def test_existing_target_is_an_error_before_any_work(model, tmp_path, monkeypatch):
    monkeypatch.setitem(module._WRITERS, "tf_saved_model", None)  # Would fail if called.
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


def test_different_outputs_are_refused_and_the_old_export_stays(model, tmp_path, wrong_writer):
    wrong_writer(lambda outputs: outputs)
    export(model, tmp_path / "out")
    wrong_writer(lambda outputs: outputs + 0.1)
    for target, overwrite in (("new", False), ("out", True)):
        with pytest.raises(ValueError, match="differs from the model by 0.1"):
            export(model, tmp_path / target, overwrite=overwrite)
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out" / "saved_model.pb").read_bytes() == b"12345"
    assert export(model, tmp_path / "new", tolerance=1.0).max_difference == pytest.approx(0.1)


def test_a_fixed_batch_size_is_found_out(model, tmp_path, wrong_writer):
    wrong_writer(lambda outputs: outputs[:2])
    with pytest.raises(ValueError, match="outputs of shape"):
        export(model, tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_nan_outputs_are_refused(model, tmp_path, wrong_writer):
    wrong_writer(lambda outputs: outputs * np.nan)
    with pytest.raises(ValueError, match="differs from the model by nan"):
        export(model, tmp_path / "out")
    with pytest.raises(ValueError, match="NaN or infinite"):
        export(model, tmp_path / "out", sample=np.full((1, 6, 6, 3), np.nan))
    assert os.listdir(tmp_path) == []


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
        rename = os.rename

        def interrupt(source, target):
            if pathlib.Path(source).name == "new":
                raise KeyboardInterrupt
            rename(source, target)

        monkeypatch.setattr(os, "rename", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(model, tmp_path / "out", overwrite=True)
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out" / "mine").exists()


def test_folder_that_is_missing_or_cannot_be_written(model, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        export(model, tmp_path / "missing" / "out")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", "scratch")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(PermissionError, match="Cannot write the export: Permission denied"):
        export(model, tmp_path / "out")


@pytest.mark.parametrize("format", ["onnx", "litert", "keras"])
def test_unknown_format_names_the_known(format, model, tmp_path):
    with pytest.raises(ValueError, match="tf_saved_model.*Received: format="):
        export(model, tmp_path / "out", format)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (np.ones((2, 6, 6, 1)), "shape"),
        (np.ones((6, 6, 3)), "shape"),
        (np.ones((0, 6, 6, 3)), "at least one image"),
        ({"x": np.ones((2, 6, 6, 3))}, "does not fit"),
        ("images", "does not fit"),
    ],
    ids=["channels", "no batch", "empty", "structure", "type"],
)
def test_sample_that_does_not_fit(sample, message, model, tmp_path):
    with pytest.raises(ValueError, match=message):
        export(model, tmp_path / "out", sample=sample)


def test_models_that_cannot_be_used(tmp_path):
    class Subclassed(keras.Model):
        pass

    for bad in (Subclassed(), keras.Sequential([keras.layers.Dense(2)]), "model.keras"):
        with pytest.raises(ValueError, match="built Functional or Sequential"):
            export(bad, tmp_path / "out")
    fixed = keras.Input(batch_shape=(2, 3))
    with pytest.raises(ValueError, match="batch size free"):
        export(keras.Model(fixed, fixed + 1.0), tmp_path / "out")
    free = keras.Input((None, 3))
    with pytest.raises(ValueError, match="`sample` is needed"):
        export(keras.Model(free, free + 1.0), tmp_path / "out")


@pytest.mark.parametrize("tolerance", [-1.0, float("nan")])
def test_tolerance_out_of_range(tolerance, model, tmp_path):
    with pytest.raises(ValueError, match="`tolerance`"):
        export(model, tmp_path / "out", tolerance=tolerance)
