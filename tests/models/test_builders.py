"""The builders: architecture, channel lists, initial weights, and what they refuse."""

import keras
import numpy as np
import pytest

import tfrcp
import tfrcp.models as models
from tests.models.counting import SMALL, convolutions, flops, images, trainable


@pytest.mark.parametrize(
    ("depth", "parameters", "multiply_adds"),
    [(20, 269_722, 40_551_040), (56, 853_018, 125_485_696)],
)
def test_published_counts(depth, parameters, multiply_adds):
    model = getattr(models, f"resnet{depth}")()
    assert trainable(model) == parameters
    assert flops(model) == multiply_adds


@pytest.mark.parametrize("name", ["resnet8", "resnet32", "resnet44", "resnet110"])
def test_other_depths_build(name):
    model = getattr(models, name)(SMALL, classes=3)
    assert model.name == name
    assert len(convolutions(model)) == int(name[6:]) - 1
    assert model.output_shape == (None, 3)


def test_vgg16_has_thirteen_convolutions_and_one_classifier():
    model = models.vgg16()
    kernels = sum(9 * i * o for i, o in zip((3, *_VGG[:-1]), _VGG, strict=True))
    assert [layer.filters for layer in convolutions(model)] == list(_VGG)
    assert trainable(model) == kernels + 2 * sum(_VGG) + 512 * 10 + 10
    assert not any(layer.use_bias for layer in convolutions(model))


_VGG = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


@pytest.mark.parametrize(("shape", "pools"), [((32, 32, 3), 5), (SMALL, 3), ((1, 1, 2), 0)])
def test_vgg16_pools_while_there_are_pixels(shape, pools):
    model = models.vgg16(shape, channels=[2] * 13)
    assert sum(isinstance(layer, keras.layers.MaxPooling2D) for layer in model.layers) == pools
    assert model(images(shape)).shape == (2, 10)


@pytest.mark.parametrize("shape", [SMALL, (7, 5, 2), (1, 1, 1), (None, None, 3)])
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_resnet_takes_any_image_size(shape, shortcut):
    model = models.resnet20(shape, shortcut=shortcut)
    sized = tuple(size or 9 for size in shape)
    assert model(images(sized)).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet20", {"shortcut": "A"}),
        ("resnet20", {"shortcut": "B"}),
        ("resnet20", {"width": 2}),
        ("resnet8", {"width": 0.25, "shortcut": "B"}),
        ("vgg16", {}),
    ],
)
def test_groups_are_named_in_order_of_first_appearance(name, options):
    full = models.full_channels(name, **options)
    model = getattr(models, name)(SMALL, **options)
    assert [layer.name for layer in convolutions(model) if layer.name in full] == list(full)


def test_groups_of_resnet20():
    inner = [f"stage{stage}_block{block}_conv1" for stage in (1, 2, 3) for block in (1, 2, 3)]
    order = ["stem_conv", *inner[:4], "stage2_block1_conv2", *inner[4:7]]
    order += ["stage3_block1_conv2", *inner[7:]]
    widths = [16] * 4 + [32, 16, 32, 32] + [64, 32, 64, 64]
    assert models.full_channels("resnet20") == dict(zip(order, widths, strict=True))
    widths[5], widths[9] = 32, 64
    assert models.full_channels("resnet20", shortcut="B") == dict(zip(order, widths, strict=True))
    assert len(models.full_channels("resnet110")) == 54 + 3


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet20", {"shortcut": "A"}),
        ("resnet20", {"shortcut": "B"}),
        ("resnet20", {"width": 2}),
        ("resnet8", {"width": 0.25, "shortcut": "B"}),
        ("vgg16", {}),
    ],
)
def test_full_list_builds_the_unpruned_network(name, options):
    build = getattr(models, name)
    channels = np.array(list(models.full_channels(name, **options).values()))
    expected = build(SMALL, **options).get_weights()
    for left, right in zip(
        build(SMALL, channels=channels, **options).get_weights(), expected, strict=True
    ):
        np.testing.assert_array_equal(left, right)


def test_width_is_a_factor_of_all_widths():
    plain, wide = (models.full_channels("resnet20", **o) for o in ({}, {"width": 1.5}))
    assert wide == {name: 3 * channels // 2 for name, channels in plain.items()}
    model = models.resnet20(SMALL, width=1.5)
    assert {layer.filters for layer in convolutions(model)} == {24, 48, 96}


def test_channels_of_shortcut_a_add_up():
    #         stem  stage 1  1st  +2  2nd 3rd  1st  +3  2nd 3rd
    channels = [5, 1, 2, 3, 4, 7, 6, 8, 9, 1, 10, 11]
    model = models.resnet20(SMALL, channels=channels)
    filters = {layer.name: layer.filters for layer in convolutions(model)}
    assert [filters[f"stage{stage}_block3_conv2"] for stage in (1, 2, 3)] == [5, 12, 13]
    assert filters["stage2_block1_conv1"] == 4
    assert filters["stage3_block3_conv1"] == 11
    assert model.get_layer("classifier").kernel.shape == (13, 10)


def test_channels_of_shortcut_b_stand_alone():
    model = models.resnet20(SMALL, channels=[5, 1, 2, 3, 4, 7, 6, 8, 9, 1, 10, 11], shortcut="B")
    filters = {layer.name: layer.filters for layer in convolutions(model)}
    assert [filters[f"stage{stage}_block3_conv2"] for stage in (1, 2, 3)] == [5, 7, 1]
    assert filters["stage2_block1_projection_conv"] == 7


@pytest.mark.parametrize("added", [16, 7, 1])
def test_shortcut_a_takes_every_second_pixel_and_pads_with_zero_channels(added):
    channels = [16] * 4 + [32, added] + [32, 32] + [64, 32, 64, 64]
    model = models.resnet20(SMALL, channels=channels)
    model.get_layer("stage2_block1_bn2").gamma.assign(np.zeros(16 + added))
    probe = keras.Model(
        model.input,
        [
            model.get_layer(f"{name}").output
            for name in ("stage1_block3_relu2", "stage2_block1_add")
        ],
    )
    before, after = map(np.asarray, probe(images((8, 8, 1))))
    sides = (added // 2, added - added // 2)
    np.testing.assert_allclose(after, np.pad(before[:, ::2, ::2], [(0, 0)] * 3 + [sides]))


def test_strided_convolution_sees_one_pixel_of_zeros_on_every_side():
    model = models.resnet20(SMALL)
    layer = model.get_layer("stage2_block1_conv1")
    layer.kernel.assign(np.ones(layer.kernel.shape) / layer.kernel.shape[2])
    pad = model.get_layer("stage2_block1_pad1")
    seen = np.asarray(layer(pad(np.ones((1, 8, 8, 16), "float32"))))[0, :, :, 0]
    expected = np.full((4, 4), 9.0)
    expected[0], expected[:, 0], expected[0, 0] = 6, 6, 4
    np.testing.assert_allclose(seen, expected, rtol=1e-6)


def test_batch_norm_follows_the_reference():
    norms = [
        layer
        for layer in models.resnet20(SMALL).layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.9, 1e-5)}
    assert len(norms) == 19


def test_same_seed_same_weights_other_seed_others():
    first, again, other = (models.resnet20(SMALL, seed=seed).get_weights() for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_layers_of_one_shape_start_differently():
    model = models.resnet20(SMALL)
    kernels = [np.asarray(layer.kernel) for layer in convolutions(model)]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels)
    deviation = np.std(kernels[-1])
    assert deviation == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)


def test_models_give_logits():
    outputs = np.asarray(models.resnet20(SMALL)(images(count=4)))
    assert outputs.min() < 0
    assert not np.allclose(outputs.sum(axis=-1), 1)


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_saved_model_answers_the_same(tmp_path, shortcut):
    channels = [5, 1, 2, 3, 4, 7, 6, 8, 9, 1, 10, 11]
    model = models.resnet20(SMALL, channels=channels, shortcut=shortcut)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images()), model(images()))


def test_public_names_are_sorted_and_there():
    assert models.__all__ == sorted(models.__all__)
    assert all(hasattr(models, name) for name in models.__all__)


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ([16] * 11, r"must have 12 entries.*11 entries; there is none for group 'stage3_block3_c"),
        ([16] * 13, r"must have 12 entries.*13 entries; .* last group, 'stage3_block3_conv1'"),
        ([], r"must have 12 entries.*0 entries"),
        ([-1, *[16] * 11], r"`channels\[0\]`.*'stem_conv'.*at least 1. Received: -1"),
        ([16] * 5 + [0] + [16] * 6, r"`channels\[5\]`.*'stage2_block1_conv2'.*at least 1.*: 0"),
        ([16] * 11 + [True], r"`channels\[11\]`.*'stage3_block3_conv1'.*Received: True"),
        ([8.0] * 12, r"'stem_conv'.*int.*Received: 8.0"),
        (["8"] * 12, r"'stem_conv'.*Received: '8'"),
        (8, r"sequence of 12 ints.*Received: channels=8"),
        ("a" * 12, r"sequence of 12 ints"),
    ],
)
def test_bad_channels(channels, message):
    with pytest.raises(ValueError, match=message):
        models.resnet20(SMALL, channels=channels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shortcut": "C"}, "`shortcut` must be.*'C'"),
        ({"classes": 0}, "`classes` must be.*classes=0"),
        ({"classes": 2.0}, "`classes` must be.*classes=2.0"),
        ({"input_shape": (8, 8)}, r"`input_shape` must be.*\(8, 8\)"),
        ({"input_shape": (8, 8, None)}, r"`input_shape` must be"),
        ({"input_shape": (0, 8, 1)}, r"`input_shape` must be"),
        ({"input_shape": 8}, r"`input_shape` must be.*=8"),
        ({"width": 0}, "`width` must be a number.*width=0"),
        ({"width": "2"}, "`width` must be a number.*width='2'"),
        ({"width": True}, "`width` must be a number"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.resnet20(**arguments)


def test_vgg16_needs_an_image_size():
    with pytest.raises(ValueError, match="must state height and width"):
        models.vgg16((None, None, 3))


def test_unknown_network():
    with pytest.raises(ValueError, match="must be one of.*'resnet20'.*Received: name='resnet19'"):
        models.full_channels("resnet19")


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("resnet20", SMALL, {}),
        ("resnet20", SMALL, {"shortcut": "B"}),
        ("mobilenet_v1", (32, 32, 3), {}),
        ("mobilenet_v2", (32, 32, 3), {}),
    ],
)
def test_wider_than_the_original_costs_what_its_widths_say(name, shape, options):
    full = models.full_channels(name, **options)
    channels = [
        width * 3 // 2 if i % 3 else max(width // 2, 1) for i, width in enumerate(full.values())
    ]
    build = getattr(models, name)
    wide = tfrcp.trace(build(shape, channels=channels, **options))
    assert {group.name: group.size for group in wide.prunable} == dict(
        zip(full, channels, strict=True)
    )
    original = tfrcp.CostModel(tfrcp.trace(build(shape, **options)))
    costs = original(np.array(channels))
    assert tuple(int(value[0]) for value in costs) == tuple(tfrcp.CostModel(wide).full)
