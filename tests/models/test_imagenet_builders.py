"""ImageNet networks: published counts, the groups that a trace finds, any list of channels."""

import keras
import numpy as np
import pytest

import tfrcp
import tfrcp.models as models
from tests.models.counting import convolutions, flops, images, trainable
from tests.nightly import mostly_nightly

# Trainable parameters and MACs at 224x224, as their papers or torchvision state them.
PUBLISHED = {
    "resnet18": (11_689_512, 1.814e9),
    "resnet34": (21_797_672, 3.664e9),
    "resnet50": (25_557_032, 4.089e9),
    "resnet101": (44_549_160, 7.801e9),
    "resnet152": (60_192_808, 11.514e9),
    "vgg16_imagenet": (138_357_544, 15.470e9),
    "vgg19_imagenet": (143_667_240, 19.632e9),
    "mobilenet_v1": (4_231_976, 0.569e9),
    "mobilenet_v2": (3_504_872, 0.301e9),
    "mobilenet_v3_small": (2_542_856, 0.057e9),
    "mobilenet_v3_large": (5_483_032, 0.217e9),
    "efficientnet_b0": (5_288_548, 0.386e9),
    "efficientnet_lite0": (4_652_008, 0.385e9),
    "densenet121": (7_978_856, 2.834e9),
    "regnet_x_400mf": (5_157_512, 0.398e9),
}
# One of each kind: the others differ in the number of blocks alone.
REPEATS = {"resnet34", "resnet101", "resnet152", "vgg19_imagenet", "mobilenet_v3_large"}
GROUPED = {"regnet_x_400mf"}  # a grouped convolution may be pruned in another way when pruned again
KINDS = sorted(PUBLISHED.keys() - REPEATS - GROUPED)


@pytest.fixture
def quick_weights(monkeypatch):
    """Zeros for kernels: to draw the 138 million of VGG-16 takes ten times as long as the rest."""
    for name in ("HeNormal", "VarianceScaling"):
        monkeypatch.setattr(
            keras.initializers, name, lambda *args, **kwargs: keras.initializers.Zeros()
        )


@pytest.mark.parametrize(
    "name",
    mostly_nightly(
        PUBLISHED, *({*PUBLISHED} - {"resnet101", "resnet152", "vgg19_imagenet", "resnet34"})
    ),
)
def test_published_counts_and_traced_groups(name, quick_weights):
    model = getattr(models, name)()
    parameters, multiply_adds = PUBLISHED[name]
    assert trainable(model) == parameters
    assert flops(model) == pytest.approx(multiply_adds, abs=0.5e6)
    assert model.output_shape == (None, 1000)
    assert model.name == name
    groups = [(group.name, group.size) for group in tfrcp.trace(model).prunable]
    assert groups == list(models.full_channels(name).items())


def test_stride_in_the_first_convolution_gives_the_count_of_the_paper(quick_weights):
    model = models.resnet50(stride_in="1x1")
    assert trainable(model) == PUBLISHED["resnet50"][0]
    assert flops(model) == pytest.approx(3.858e9, abs=0.5e6)


@pytest.mark.parametrize("name", KINDS)
def test_any_channels_are_those_that_a_trace_finds(name):
    full = models.full_channels(name)
    rng = np.random.default_rng(0)
    channels = [int(rng.integers(1, min(width, 40) + 1)) for width in full.values()]
    shape = (29, 32, 3) if name == "densenet121" else (32, 32, 3)  # the least that it takes
    model = getattr(models, name)(shape, classes=7, channels=channels)
    groups = {group.name: group.size for group in tfrcp.trace(model).prunable}
    assert groups == dict(zip(full, channels, strict=True))
    outputs = np.asarray(model(images(shape)))
    assert outputs.shape == (2, 7)
    assert np.isfinite(outputs).all()


def test_grouped_channels_are_those_of_a_sliced_network():
    model = models.regnet_x_400mf((32, 32, 3), classes=7)
    graph = tfrcp.trace(model)
    rng = np.random.default_rng(0)
    masks = {group.name: rng.random(group.size) < 0.5 for group in graph.prunable}
    for mask in masks.values():
        mask[0] = True
    sliced = tfrcp.slice_model(model, graph, masks)
    channels = [int(masks[name].sum()) for name in models.full_channels("regnet_x_400mf")]
    built = models.regnet_x_400mf((32, 32, 3), classes=7, channels=channels)
    found, expected = (
        {layer.name: (layer.get_config().get("groups"), layer.get_weights()) for layer in m.layers}
        for m in (built, sliced)
    )
    assert found.keys() == expected.keys()
    for name, (groups, weights) in found.items():
        assert groups == expected[name][0]
        assert [w.shape for w in weights] == [w.shape for w in expected[name][1]]
    assert {groups for groups, _ in found.values()} > {2, 4, 10}
    assert np.isfinite(np.asarray(built(images((32, 32, 3))))).all()


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet18", (1, 1, 1)),
        ("resnet18", (None, None, 3)),
        ("mobilenet_v1", (9, 7, 1)),
    ],
)
def test_images_of_other_sizes(name, shape):
    channels = [2] * len(models.full_channels(name))
    model = getattr(models, name)(shape, classes=3, channels=channels)
    assert model(images(tuple(size or 19 for size in shape))).shape == (2, 3)


def test_same_seed_same_weights_other_seed_others():
    def weights(seed):
        model = models.mobilenet_v1((32, 32, 3), channels=[3] * 14, seed=seed)
        return [np.asarray(weight) for weight in model.weights]

    first, again, other = weights(0), weights(0), weights(1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_depthwise_kernels_are_drawn_over_their_window():
    model = models.mobilenet_v1((32, 32, 3), channels=[1] * 11 + [512, 1, 1])
    kernel = np.asarray(model.get_layer("block12_depthwise_conv").kernel)
    assert np.std(kernel) == pytest.approx(np.sqrt(2 / 9), rel=0.03)


def test_images_are_padded_as_in_the_papers():
    resnet = models.resnet18((32, 32, 3), channels=[2] * 12)
    assert resnet.get_layer("stem_pad").padding == ((3, 3), (3, 3))
    mobilenet = models.mobilenet_v1((32, 32, 3), channels=[2] * 14)
    padding = [layer for layer in mobilenet.layers if isinstance(layer, keras.layers.ZeroPadding2D)]
    assert not padding
    assert {layer.padding for layer in convolutions(mobilenet)} == {"same"}


def test_whole_blocks_drop_out_more_often_towards_the_end():
    model = models.efficientnet_b0((32, 32, 3), channels=[2] * 40)
    drops = [layer for layer in model.layers if layer.name.endswith("_drop")]
    assert all(layer.noise_shape == (None, 1, 1, 1) for layer in drops)
    assert [layer.rate for layer in drops] == sorted(layer.rate for layer in drops)
    assert len(drops) == 9
    assert 0 < drops[0].rate < drops[-1].rate < 0.2


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet50", {"stride_in": 1}, "`stride_in` must be.*Received: stride_in=1"),
        ("resnet18", {"channels": [64] * 11}, "must have 12 entries.*'stage4_block2_conv1'"),
        ("mobilenet_v2", {"channels": [-3] + [1] * 24}, r"'stem_conv'.*at least 1. Received: -3"),
        ("mobilenet_v3_large", {"channels": [0] * 30}, r"'stem_conv'.*at least 1. Received: 0"),
        ("vgg16_imagenet", {"input_shape": (None, None, 3)}, "must state height and width"),
        ("vgg19_imagenet", {"input_shape": (32, 31, 3)}, "height and width of at least 32"),
        ("densenet121", {"input_shape": (28, 32, 3)}, "height and width of at least 29"),
    ],
)
def test_bad_arguments(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(models, name)(**arguments)
