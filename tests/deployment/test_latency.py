import dataclasses
import sys

import keras
import numpy as np
import pytest

import tfrcp
from tfrcp.deployment import latency


def small_model():
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(2, 3)(inputs)
    return keras.Model(inputs, keras.layers.Dropout(0.5)(keras.layers.Flatten()(x)))


def made_up(runs, batch_size=8):
    return latency.Latency(tuple(runs), batch_size, "CPU")


def test_measures_models_and_functions_side_by_side():
    images = np.ones((3, 4, 4, 3), "float32")
    result = latency.measure(
        {"model": small_model(), "function": lambda x: x + 1.0},
        images,
        batch_size=8,
        repeats=4,
        warmup=1,
    )
    assert list(result) == ["model", "function"]
    for measured in result.values():
        assert len(measured.runs) == 4
        assert measured.batch_size == 8
        assert measured.device in ("CPU", "GPU")
        assert all(run > 0 for run in measured.runs)


def test_models_take_turns_on_a_filled_batch():
    seen = []

    def watch(name):
        import tensorflow as tf

        def note(x):
            seen.append((name, x.numpy().copy()))
            return x

        return lambda x: tf.py_function(note, [x], tf.float32)

    images = np.arange(3, dtype="float32")[:, None]
    latency.measure({"a": watch("a"), "b": watch("b")}, images, batch_size=5, repeats=2, warmup=1)
    assert [name for name, _ in seen] == ["a", "b"] * 3
    for _, batch in seen:
        assert batch[:, 0].tolist() == [0, 1, 2, 0, 1]


def test_is_traced_once_per_model():
    traced = []

    def function(x):
        traced.append(x.shape)
        return x

    latency.measure({"f": function}, np.ones((2, 3), "float32"), batch_size=4, repeats=3)
    assert [tuple(shape) for shape in traced] == [(4, 3)]


def test_several_inputs():
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    model = keras.Model({"a": a, "b": b}, [a + b, a - b])
    x = {"a": np.ones((2, 3), "float32"), "b": np.ones((2, 3), "float32")}
    assert len(latency.measure({"m": model}, x, batch_size=2, repeats=2)["m"].runs) == 2


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One model in every format that can be written here."""
    folder, model = tmp_path_factory.mktemp("files"), small_model()
    model.save(folder / "model.keras")
    found = {"memory": model, "keras": folder / "model.keras"}
    for format, suffix in (("tf_saved_model", ""), ("litert", ".tflite"), ("onnx", ".onnx")):
        try:
            found[format] = tfrcp.export(model, folder / f"model{suffix}", format).path
        except ImportError:
            continue  # The extra is not installed.
    return found


def test_measures_files_beside_models(files):
    images = np.ones((3, 4, 4, 3), "float32")
    result = latency.measure(files, images, batch_size=5, repeats=2, warmup=1)
    assert list(result) == list(files)
    runtimes = {"litert": "LiteRT", "onnx": "ONNX Runtime"}
    for name, measured in result.items():
        assert measured.runtime == runtimes.get(name, "TensorFlow")
        assert (measured.bytes is None) == (name == "memory")
        assert measured.bytes is None or measured.bytes > 500
        assert measured.batch_size == 5 and len(measured.runs) == 2


def test_memory_is_measured_in_a_process_of_its_own(files):
    images = np.ones((3, 4, 4, 3), "float32")
    small = [name for name in ("litert", "onnx") if name in files] or ["tf_saved_model"]
    for name in small:
        assert 10_000 < latency.peak_memory(files[name], images, batch_size=2) < 1e9
    with pytest.raises(ValueError, match="a function cannot be brought"):
        latency.peak_memory(lambda x: x, images)


def test_files_that_cannot_be_measured(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    for name in ("notes.txt", "torn.tflite", "torn.onnx"):
        (tmp_path / name).write_text("no model")
    images = np.ones((1, 4))
    for name, error, message in (
        ("none.tflite", FileNotFoundError, "There is no file"),
        ("notes.txt", ValueError, "must be a SavedModel folder, a .keras, .tflite or .onnx"),
        ("folder", ValueError, "must be a SavedModel folder"),
        ("torn.tflite", (ValueError, ImportError), "LiteRT cannot load|tfrcp.litert"),
        ("torn.onnx", (ValueError, ImportError), "ONNX Runtime cannot load|tfrcp.onnx"),
    ):
        with pytest.raises(error, match=message) as raised:
            latency.measure({"file": tmp_path / name}, images)
        assert len(str(raised.value).splitlines()) == 1
    for module in ("onnxruntime", "ai_edge_litert.interpreter"):
        monkeypatch.setitem(sys.modules, module, None)
    for name in ("torn.tflite", "torn.onnx"):
        with pytest.raises(ImportError, match=r'pip install "tfrcp'):
            latency.measure({"file": tmp_path / name}, images)


def test_other_threads_are_refused_when_tensorflow_runs_already():
    with pytest.raises(ValueError, match="before its first operation.*threads=77"):
        latency.measure({"f": lambda x: x}, np.ones((1, 2), "float32"), threads=77)


def test_median_spread_and_text_state_milliseconds():
    measured = made_up([1.0, 2.0, 3.0, 4.0, 100.0])
    assert measured.median == 3.0
    assert measured.spread == 2.0
    assert "ms per image" in str(measured)
    assert "batch of 8 on CPU by TensorFlow" in str(measured)


def test_ratio_of_a_common_factor_is_exact():
    slow = made_up(np.random.default_rng(1).uniform(1.0, 2.0, 20))
    fast = made_up([0.5 * run for run in slow.runs])
    compared = latency.ratio(fast, slow)
    assert dataclasses.astuple(compared) == pytest.approx((0.5, 0.5, 0.5))
    assert "95 % interval" in str(compared)


def test_ratio_holds_the_truth_and_repeats_with_its_seed():
    generator = np.random.default_rng(2)
    a, b = (made_up(generator.lognormal(0.0, 0.3, 40)) for _ in range(2))
    compared = latency.ratio(a, b)
    assert compared.low < compared.ratio < compared.high
    assert compared == latency.ratio(a, b, seed=0)
    assert compared != latency.ratio(a, b, seed=1)


@pytest.mark.parametrize(
    "arguments",
    [{"batch_size": 0}, {"repeats": 1}, {"warmup": -1}, {"threads": 0}],
    ids=lambda a: next(iter(a)),
)
def test_counts_out_of_range(arguments):
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` must be an int of at least"):
        latency.measure({"f": lambda x: x}, np.ones((1, 2)), **arguments)


def test_nothing_to_measure():
    with pytest.raises(ValueError, match="`models`"):
        latency.measure({}, np.ones((1, 2)))
    with pytest.raises(ValueError, match="at least one image"):
        latency.measure({"f": lambda x: x}, np.ones((0, 2)))


def test_ratio_of_different_measurements():
    with pytest.raises(ValueError, match="one call of `measure`"):
        latency.ratio(made_up([1.0, 2.0]), made_up([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match="one call of `measure`"):
        latency.ratio(made_up([1.0, 2.0], 1), made_up([1.0, 2.0], 2))
