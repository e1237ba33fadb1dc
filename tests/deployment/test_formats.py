import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.deployment.formats import QUANTIZED, SUFFIXES, every_format, needs
from tfrcp.deployment import export, runtimes


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


@every_format
@pytest.mark.parametrize("structure", ["list", "dict", "sequential", "free size", "integers"])
def test_other_inputs_and_outputs(structure, format, tmp_path):
    a, b = keras.Input((4,), name="a"), keras.Input((5,), name="b")
    y = keras.layers.Dense(3, name="y")(keras.layers.Concatenate()([a, b]))
    z = keras.layers.Dense(2, name="z")(b)
    sample = None
    if structure == "list":
        built = keras.Model([b, a], [y, z])
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
    path = tmp_path / f"out{SUFFIXES[format]}"
    assert export(built, path, format, sample=sample).max_difference < 1e-4
    assert os.listdir(tmp_path) == [path.name]


def classifier():
    """A small network that tells bright images from dark ones, its images and labels."""
    images = np.random.default_rng(0).random((300, 8, 8, 3)).astype("float32")
    images[::2] *= 0.7
    labels = (images.mean(axis=(1, 2, 3)) > 0.425).astype("int32")
    inputs = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(x))
    built = keras.Model(inputs, keras.layers.Dense(2)(x))
    built.layers[-1].set_weights([np.zeros((4, 2)), np.zeros(2)])
    features = keras.Model(inputs, x).predict(images, verbose=0)
    solution = np.linalg.lstsq(np.c_[features, np.ones(300)], 2.0 * labels - 1, rcond=None)[0]
    weights = np.stack([-solution, solution], axis=1).astype("float32")
    built.layers[-1].set_weights([weights[:-1], weights[-1]])
    return built, images, labels


@needs["litert"]
@pytest.mark.parametrize("quantization", QUANTIZED)
def test_litert_in_every_precision(quantization, tmp_path):
    keras.utils.set_random_seed(0)
    built, images, labels = classifier()
    path = tmp_path / "model.tflite"
    result = export(
        built,
        path,
        "litert",
        quantization=quantization,
        calibration=images[:50] if quantization == "int8" else None,
        sample=images,
        labels=labels,
    )
    assert result.model_accuracy > 0.9 and abs(result.accuracy - result.model_accuracy) <= 0.01
    assert result.bytes == path.stat().st_size and os.listdir(tmp_path) == [path.name]
    runner = runtimes.load(path, threads=1)
    assert (runner.inputs, runner.runtime) == (("image",), "LiteRT")
    for count in (1, 7):
        (outputs,) = runner(images[:count])
        tolerance = {None: 1e-5, "float16": 1e-2}.get(quantization, 0.3)
        expected = built.predict(images[:count], verbose=0)
        np.testing.assert_allclose(outputs, expected, atol=tolerance)


@needs["onnx"]
def test_onnx_has_names_and_a_free_batch_size(tmp_path):
    import onnxruntime

    built, images, labels = classifier()
    result = export(built, tmp_path / "m.onnx", "onnx", sample=images, labels=labels)
    assert result.accuracy == result.model_accuracy
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    ((source,), (target,)) = session.get_inputs(), session.get_outputs()
    assert (source.name, source.shape) == ("image", ["batch", 8, 8, 3])
    assert (target.name, target.shape) == ("output_0", ["batch", 2])
    (outputs,) = session.run(None, {"image": images[:5]})
    np.testing.assert_allclose(outputs, built.predict(images[:5], verbose=0), atol=1e-5)


@every_format
def test_preprocessing_goes_into_the_file(model, format, tmp_path):
    path = tmp_path / f"out{SUFFIXES[format]}"
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    export(model, path, format, mean=mean, std=std)
    images = np.random.default_rng(1).random((4, 6, 6, 3)).astype("float32")
    normalised = (images - np.array(mean, "float32")) / np.array(std, "float32")
    (outputs,) = runtimes.load(path)(images)
    np.testing.assert_allclose(outputs, model(normalised), atol=1e-4)
    assert runtimes.load(path).inputs == (model.input.name,)


def test_a_sequential_network_with_preprocessing_and_labels(tmp_path):
    built = keras.Sequential(
        [keras.Input((4, 4, 3), name="image"), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    built.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images = np.random.default_rng(1).random((40, 4, 4, 3)).astype("float32")
    made = export(
        built,
        tmp_path / "out",
        mean=0.5,
        std=0.25,
        sample=images,
        labels=np.arange(40) % 2,
        objective="val_loss",
    )
    (outputs,) = runtimes.load(tmp_path / "out")(images)
    np.testing.assert_allclose(outputs, built((images - 0.5) / 0.25), atol=1e-4)
    assert made.path == tmp_path / "out"
    built.save(tmp_path / "net.keras")
    (outputs,) = runtimes.load(tmp_path / "net.keras")(images)
    np.testing.assert_allclose(outputs, built(images), atol=1e-5)


@pytest.mark.parametrize(
    "wrong", [{"std": 0.0}, {"mean": (0.1, 0.2)}, {"mean": float("nan")}, {"std": (1.0, -1.0, 1.0)}]
)
def test_preprocessing_that_makes_no_sense(wrong, model, tmp_path):
    with pytest.raises(ValueError, match="`mean` and `std`"):
        export(model, tmp_path / "out", **wrong)


@pytest.mark.parametrize(("format", "missing"), [("litert", "ai_edge_litert"), ("onnx", "tf2onnx")])
def test_a_missing_extra_is_named(format, missing, model, tmp_path, monkeypatch):
    for name in (missing, f"{missing}.interpreter"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf'pip install "tfrcp\[{format}\]"') as error:
        export(model, tmp_path / f"out{SUFFIXES[format]}", format)
    assert len(str(error.value).splitlines()) == 1 and os.listdir(tmp_path) == []


@pytest.mark.parametrize("format", [pytest.param(n, marks=m) for n, m in needs.items()])
def test_an_operation_that_the_converter_does_not_support_is_named(format, tmp_path):
    inputs = keras.Input((4,))
    built = keras.Model(inputs, keras.ops.erfinv(0.5 * inputs))
    with pytest.raises(ValueError, match="does not support the operation Erfinv") as error:
        export(built, tmp_path / f"out{SUFFIXES[format]}", format)
    assert len(str(error.value).splitlines()) == 1 and os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("format", "options", "message"),
    [
        ("onnx", {"quantization": "int8"}, "one of .None. for the format 'onnx'"),
        ("litert", {"quantization": "int4"}, "one of .*'int8'.*'int4'"),
        ("litert", {"quantization": "int8"}, "`calibration` must hold images"),
        ("litert", {"calibration": np.ones((2, 6, 6, 3))}, "`calibration` must hold images"),
        (
            "litert",
            {"quantization": "int8", "calibration": np.ones((2, 6, 6, 1))},
            "`calibration` does not fit",
        ),
    ],
)
def test_quantization_that_does_not_fit(format, options, message, model, tmp_path):
    with pytest.raises(ValueError, match=message):
        export(model, tmp_path / f"out{SUFFIXES[format]}", format, **options)


@pytest.mark.parametrize("format", ["tflite", "keras", ""])
def test_unknown_format_names_the_known(format, model, tmp_path):
    with pytest.raises(ValueError, match="tf_saved_model.*Received: format="):
        export(model, tmp_path / "out", format)
