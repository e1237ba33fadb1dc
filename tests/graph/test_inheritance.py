"""Which channels are kept, and the sliced model: its form, its errors, its file."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import tfrcp
from tests.networks import NETWORKS, conv, head, image, norm
from tests.references import (
    assert_close,
    counts_of,
    flat,
    images_for,
    masked_outputs,
    random_masks,
    randomize,
)


@pytest.fixture(scope="module")
def traced():
    model = NETWORKS["residual_a"].build()  # stem_conv 4, one_conv 5, two 3, three_conv 6
    randomize(model)
    return model, tfrcp.trace(model)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"nothing": np.ones(3, bool)}, r"no prunable group.*'stem_conv'.*Received: 'nothing'"),
        ({"head": np.ones(3, bool)}, "no prunable group.*Received: 'head'"),
        ({"two": np.ones(4, bool)}, r"mask of `two` must be.*length 3.*bool \(4,\)"),
        ({"two": np.ones((3, 1), bool)}, r"mask of `two`.*bool \(3, 1\)"),
        ({"two": np.zeros(3, bool)}, "mask of `two`.*at least one channel.*keeps 0"),
        ({"two": np.array([1, 0, 1])}, r"mask of `two`.*Received: int64 \(3,\)"),
        ({"two": np.array([1.0, 0.0, 1.0])}, r"mask of `two`.*Received: float64 \(3,\)"),
    ],
)
def test_bad_masks(traced, masks, message):
    model, graph = traced
    with pytest.raises(ValueError, match=message):
        tfrcp.slice_model(model, graph, masks)


def test_groups_without_mask_are_kept_whole(traced):
    model, graph = traced
    pruned = tfrcp.slice_model(model, graph, {"one_conv": [True, False, True, False, False]})
    assert pruned.get_layer("one_conv").filters == 2
    assert pruned.get_layer("two").kernel.shape == (3, 3, 2, 7)
    assert pruned.get_layer("three_conv").filters == 6


def test_weights_are_those_of_the_kept_channels(traced):
    model, graph = traced
    masks = random_masks(graph, 1)
    pruned = tfrcp.slice_model(model, graph, masks)
    kernel = np.asarray(model.get_layer("one_conv").kernel)
    expected = kernel[:, :, masks["stem_conv"]][..., masks["one_conv"]]
    np.testing.assert_array_equal(pruned.get_layer("one_conv").kernel, expected)
    stream = np.concatenate([masks["two"][:1], masks["stem_conv"], masks["two"][1:]])
    for name in ("gamma", "beta", "moving_mean", "moving_variance"):
        values = np.asarray(getattr(model.get_layer("two_bn"), name))
        np.testing.assert_array_equal(getattr(pruned.get_layer("two_bn"), name), values[stream])


def test_plain_model_with_the_same_names(traced):
    model, graph = traced
    pruned = tfrcp.slice_model(model, graph, random_masks(graph, 2))
    assert type(pruned) is type(model)
    assert pruned.name == model.name
    assert [layer.name for layer in pruned.layers] == [layer.name for layer in model.layers]
    assert [type(layer) for layer in pruned.layers] == [type(layer) for layer in model.layers]
    assert pruned.input_shape == model.input_shape
    assert pruned.output_shape == model.output_shape
    assert not pruned.compiled


def test_options_of_layers_are_kept():
    inputs = image()
    x = conv(4, "a", kernel_regularizer="l2", trainable=False)(inputs)
    x = layers.BatchNormalization(momentum=0.7, epsilon=0.01, name="bn")(x)
    model = keras.Model(inputs, head(layers.Dropout(0.25, seed=3, name="dropout")(x)))
    graph = tfrcp.trace(model)
    pruned = tfrcp.slice_model(model, graph, {"a": [True, False, True, False]})
    assert not pruned.get_layer("a").trainable
    assert isinstance(pruned.get_layer("a").kernel_regularizer, keras.regularizers.L2)
    assert (pruned.get_layer("bn").momentum, pruned.get_layer("bn").epsilon) == (0.7, 0.01)
    assert pruned.get_layer("dropout").rate == 0.25


def transferred():
    """
    image - rescaled, flipped, normalized - base, frozen: ( a - bn - split - add - b ) - c - head
    """
    start = keras.Input((6, 6, 2), name="start")
    x = norm("bn")(conv(6, "a", kernel_regularizer="l2")(start))
    left, right = keras.ops.split(x, 2, axis=-1)
    base = keras.Model(start, conv(4, "b")(left + right), name="base")
    base.trainable = False
    inputs = image()
    x = layers.RandomFlip(name="flip")(layers.Rescaling(2.0, name="rescaled")(inputs))
    x = layers.Normalization(mean=[0.5, 0.1], variance=[2.0, 3.0], name="normalized")(x)
    x = conv(5, "c", dtype="mixed_bfloat16")(base(x, training=False))
    model = keras.Model(inputs, head(layers.Activation("linear", dtype="float32")(x)))
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True), "mse")
    randomize(model)
    return model


def test_what_the_user_has_is_kept():
    model = transferred()
    graph = tfrcp.trace(model)
    pruned = tfrcp.slice_model(model, graph, random_masks(graph, 5))
    assert [layer.name for layer in pruned.layers] == [layer.name for layer in model.layers]
    old, new = model._flatten_layers(), pruned._flatten_layers()
    for before, after in zip(old, new, strict=True):
        assert (type(before), before.name) == (type(after), after.name)
        if not isinstance(before, layers.InputLayer):
            assert before.trainable == after.trainable, before.name
        assert before.dtype_policy.name == after.dtype_policy.name, before.name
    assert len(pruned.trainable_weights) == len(model.trainable_weights)
    base = pruned.get_layer("base")
    assert isinstance(base.get_layer("a").kernel_regularizer, keras.regularizers.L2)
    config = pruned.optimizer.get_config()
    assert config == model.optimizer.get_config()
    assert isinstance(pruned.optimizer, keras.optimizers.SGD)
    assert pruned.loss == "mse"
    # The frozen base still runs as in inference while the rest is trained.
    before = [np.array(v) for v in base.variables]
    pruned.fit(images_for(model), np.zeros((3, 3)), verbose=0)
    assert all(map(np.array_equal, before, base.variables))


def test_nested_models_stay_nested():
    model = NETWORKS["nested"].build()
    graph = tfrcp.trace(model)
    pruned = tfrcp.slice_model(model, graph, random_masks(graph, 1))
    assert [layer.name for layer in pruned.layers] == [layer.name for layer in model.layers]
    inner = pruned.get_layer("inner")
    assert [layer.name for layer in inner.layers] == ["start", "b", "b_bn", "c"]
    assert isinstance(pruned.get_layer("tail"), keras.Model)
    assert [g.name for g in tfrcp.trace(pruned).prunable] == [g.name for g in graph.prunable]


def test_nested_model_given_one_tensor_twice_is_inlined():
    p, q = (keras.Input((6, 6, 3), name=name) for name in "pq")
    inner = keras.Model([p, q], conv(4, "b")(layers.Subtract(name="sub")([p, q])), name="inner")
    inputs = image()
    x = conv(3, "a")(inputs)
    model = keras.Model(inputs, head(inner([x, x])))
    randomize(model)
    graph = tfrcp.trace(model)
    masks = {"a": np.arange(3) > 0, "inner/b": np.arange(4) > 1}
    pruned = tfrcp.slice_model(model, graph, masks)
    assert [layer.name for layer in pruned.layers if layer.weights] == ["a", "b", "head"]
    assert_close(
        flat(pruned(images_for(model))), masked_outputs(model, graph, masks, images_for(model))
    )
    tfrcp.reconstruct(pruned, model, graph, masks, images_for(model, count=8))


def test_nested_model_of_two_widths_is_there_twice():
    start = keras.Input((6, 6, 4), name="start")
    x = layers.Reshape((36, 4), name="reshape")(layers.ReLU(name="relu")(start))
    flat_model = keras.Model(start, x, name="flat")
    inputs = image()
    x, y = flat_model(conv(4, "a")(inputs)), flat_model(conv(4, "b")(inputs))
    x = layers.GlobalAveragePooling1D()(layers.Concatenate()([x, y]))
    model = keras.Model(inputs, layers.Dense(3, name="head")(x))
    randomize(model)
    graph = tfrcp.trace(model)
    masks = {"a": np.arange(4) > 1, "b": np.arange(4) > 0}
    pruned = tfrcp.slice_model(model, graph, masks)
    assert {"flat", "flat_2"} < {layer.name for layer in pruned.layers}
    assert_close(
        flat(pruned(images_for(model))), masked_outputs(model, graph, masks, images_for(model))
    )


def test_compiled_as_the_original():
    model = NETWORKS["chain"].build()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(True), metrics=["accuracy"])
    graph = tfrcp.trace(model)
    pruned = tfrcp.slice_model(model, graph, random_masks(graph, 0))
    x, y = images_for(pruned, count=8), np.arange(8) % 3
    results = pruned.evaluate(x, y, verbose=0, return_dict=True)
    assert set(results) == {"loss", "accuracy"}
    pruned.fit(x, y, verbose=0)
    assert pruned.optimizer is not model.optimizer


def test_inputs_and_outputs_keep_their_structure():
    model = NETWORKS["dicts"].build()
    graph = tfrcp.trace(model)
    pruned = tfrcp.slice_model(model, graph, random_masks(graph, 0))
    outputs = pruned(images_for(model))
    assert {name: x.shape for name, x in outputs.items()} == {"p": (3, 3), "o": (3, 2)}
    assert sorted(tensor.name for tensor in pruned.inputs) == ["x", "y"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: NETWORKS["chain"].build(), "no layer.*not the one that was traced"),
        (lambda: widened(), "'kernel' of layer 'stem_conv'.*length 4.*Trace this model"),
    ],
)
def test_another_model_than_the_traced(traced, other, message):
    _, graph = traced
    with pytest.raises(ValueError, match=message):
        tfrcp.slice_model(other(), graph, {})


def widened():
    inputs = image()
    return keras.Model(inputs, conv(5, "stem_conv", use_bias=False)(inputs), name="widened")


def test_equally_built_model_takes_the_graph(traced):
    model, graph = traced
    other = NETWORKS["residual_a"].build()
    randomize(other, seed=9)
    masks, images = random_masks(graph, 4), images_for(model)
    through = tfrcp.slice_model(other, graph, masks)
    directly = tfrcp.slice_model(other, tfrcp.trace(other), masks)
    for left, right in zip(flat(through(images)), flat(directly(images)), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(("name", "options"), [("resnet20", {"shortcut": "A"}), ("vgg16", {})])
def test_builder_called_with_the_counts_has_the_same_shapes(name, options):
    build, full = getattr(tfrcp.models, name), tfrcp.models.full_channels(name, **options)
    narrow = [max(width // 16, 2) for width in full.values()]
    # The added channels of option A stand around the old ones by halves, wherever they were.
    model = build((8, 8, 1), channels=narrow if name == "vgg16" else None, **options)
    graph = tfrcp.trace(model)
    masks = random_masks(graph, 0)
    pruned = tfrcp.slice_model(model, graph, masks)
    built = build((8, 8, 1), channels=counts_of(graph, masks).tolist(), **options)
    assert [v.shape for v in pruned.variables] == [v.shape for v in built.variables]
    assert [layer.name for layer in pruned.layers if layer.weights] == [
        layer.name for layer in built.layers if layer.weights
    ]


LOAD = """
import sys, keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
np.save(sys.argv[3], model(np.load(sys.argv[2]), training=False))
assert not [name for name in sys.modules if name.startswith("tfrcp")]
"""


def test_saved_model_loads_without_tfrcp(tmp_path):
    model = transferred()
    graph = tfrcp.trace(model)
    pruned = tfrcp.slice_model(model, graph, random_masks(graph, 5))
    images = images_for(model)
    pruned.save(tmp_path / "pruned.keras")
    np.save(tmp_path / "images.npy", images)
    names = ("pruned.keras", "images.npy", "outputs.npy")
    result = subprocess.run(
        [sys.executable, "-c", LOAD, *names],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    expected = pruned(images, training=False)
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["shuffled", "attention", "nested", "split"])
def test_saved_model_answers_the_same(name, tmp_path):
    model = NETWORKS[name].build()
    randomize(model)
    graph = tfrcp.trace(model)
    pruned = tfrcp.slice_model(model, graph, random_masks(graph, 2))
    pruned.save(tmp_path / "pruned.keras")
    loaded, images = keras.saving.load_model(tmp_path / "pruned.keras"), images_for(model)
    for left, right in zip(flat(loaded(images)), flat(pruned(images)), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-6)
