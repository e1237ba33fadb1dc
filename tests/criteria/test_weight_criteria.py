"""L1, L2, batch norm scale and random against a few lines of NumPy."""

import keras
import numpy as np
import pytest

import tfrcp
from tests.networks import NETWORKS, conv, head, image, norm
from tests.references import randomize
from tfrcp import criteria


@pytest.fixture(scope="module")
def networks():
    found = {}
    for name in ("chain", "residual_a", "depthwise", "concatenated", "vgg", "mirrored"):
        model = NETWORKS[name].build()
        randomize(model)
        found[name] = model, tfrcp.trace(model)
    return found


def relative(scores):
    """Scores of a layer's channels, in units of their mean."""
    return scores / scores.mean()


def l1(kernel, axis=-1):
    rows = np.moveaxis(np.asarray(kernel, "float64"), axis, 0)
    return relative(np.array([np.abs(row).sum() for row in rows]))


def l2(kernel, axis=-1):
    rows = np.moveaxis(np.asarray(kernel, "float64"), axis, 0)
    return relative(np.array([np.sqrt((row**2).sum()) for row in rows]))


@pytest.mark.parametrize(("name", "score"), [("l1", l1), ("l2", l2)])
def test_norms(networks, name, score):
    criterion = criteria.get(name)

    model, graph = networks["chain"]
    scores = criterion(model, graph)
    np.testing.assert_allclose(scores["a_conv"], score(model.get_layer("a_conv").kernel))
    np.testing.assert_allclose(scores["b"], score(model.get_layer("b").kernel))

    # The stem's channels are channels 1 to 4 of the later layers.
    model, graph = networks["residual_a"]
    scores = criterion(model, graph)
    stem, two, four = (score(model.get_layer(f"{n}").kernel) for n in ("stem_conv", "two", "four"))
    np.testing.assert_allclose(scores["stem_conv"], (stem + two[1:5] + four[1:5]) / 3)
    np.testing.assert_allclose(scores["two"], ((two + four) / 2)[[0, 5, 6]])

    # A depthwise kernel [3, 3, in, 2] makes two channels from each of the stem's.
    model, graph = networks["depthwise"]
    scores = criterion(model, graph)
    stem = score(model.get_layer("stem_conv").kernel)
    depthwise = score(model.get_layer("depthwise").kernel, axis=2)
    np.testing.assert_allclose(scores["stem_conv"], (stem + depthwise) / 2)

    model, graph = networks["concatenated"]
    scores = criterion(model, graph)
    np.testing.assert_allclose(scores["b_conv"], score(model.get_layer("b_conv").kernel))

    model, graph = networks["vgg"]
    scores = criterion(model, graph)
    np.testing.assert_allclose(scores["c"], score(model.get_layer("c").kernel))

    # Channel 0 is also channel 4, channel 1 channel 3.
    model, graph = networks["mirrored"]
    scores = criterion(model, graph)
    a = score(model.get_layer("a").kernel)
    np.testing.assert_allclose(scores["a"], [(a[0] + a[4]) / 2, (a[1] + a[3]) / 2])
    np.testing.assert_allclose(scores["a:2"], a[2:3])


def folded(model, layer):
    """The kernel of a layer times the scale of the batch norm behind it, where there is one."""
    kernel = np.asarray(model.get_layer(layer).kernel, "float64")
    for normal in model.layers:
        if normal.name == f"{layer.removesuffix('_conv')}_bn":
            kernel *= np.asarray(normal.gamma, "float64") / np.sqrt(
                np.asarray(normal.moving_variance, "float64") + normal.epsilon
            )
    return kernel


@pytest.mark.parametrize(("name", "score"), [("l1", l1), ("l2", l2)])
def test_norms_with_the_batch_norm_folded_in(networks, name, score):
    model, graph = networks["residual_a"]
    scores = criteria.get(f"{name}:scope=folded")(model, graph)
    stem, two, four = (score(folded(model, n)) for n in ("stem_conv", "two", "four"))
    np.testing.assert_allclose(scores["stem_conv"], (stem + two[1:5] + four[1:5]) / 3, rtol=1e-5)

    model, graph = networks["chain"]
    plain, scores = (criteria.get(f"{name}{t}")(model, graph) for t in ("", ":scope=folded"))
    np.testing.assert_allclose(scores["a_conv"], score(folded(model, "a_conv")), rtol=1e-5)
    assert not np.allclose(scores["a_conv"], plain["a_conv"])


@pytest.mark.parametrize(("name", "score"), [("l1", l1), ("l2", l2)])
def test_norms_of_the_whole_group(networks, name, score):
    model, graph = networks["chain"]
    scores = criteria.get(name + ":scope=group:normalize=false:reduction=sum")(model, graph)
    made, read = folded(model, "a_conv"), folded(model, "b")
    size = {"l1": lambda w: np.abs(w).sum(), "l2": lambda w: np.sqrt((w**2).sum())}[name]
    expected = [size(made[..., j]) + size(read[..., j, :]) for j in range(made.shape[-1])]
    np.testing.assert_allclose(scores["a_conv"], expected, rtol=1e-5)
    scores = criteria.get(name + ":scope=group")(model, graph)
    expected = (score(made) + score(read, axis=-2)) / 2
    np.testing.assert_allclose(scores["a_conv"], expected, rtol=1e-5)


@pytest.mark.parametrize("scope", ["folded", "group"])
def test_a_batch_norm_that_stands_in_the_kernel_scores_the_same(scope):
    inputs = image()
    x = keras.layers.ReLU()(norm("a_bn")(conv(4, "a")(inputs)))
    model = keras.Model(inputs, head(norm("b_bn")(conv(5, "b")(x))))
    randomize(model)
    before = criteria.L2(scope=scope)(model, tfrcp.trace(model))
    for name in ("a", "b"):
        layer, normal = model.get_layer(name), model.get_layer(f"{name}_bn")
        scale = normal.gamma / np.sqrt(normal.moving_variance + normal.epsilon)
        layer.kernel.assign(layer.kernel * scale)
        normal.gamma.assign(np.ones(scale.shape))
        normal.moving_variance.assign(np.full(scale.shape, 1 - normal.epsilon))
    after = criteria.L2(scope=scope)(model, tfrcp.trace(model))
    for group, score in before.items():
        np.testing.assert_allclose(after[group], score, rtol=1e-5)


def test_scopes_are_checked():
    with pytest.raises(ValueError, match="`scope` must be one of .*Received: scope='all'"):
        criteria.L1(scope="all")


def test_batch_norm_scale(networks):
    criterion = criteria.BatchNormScale(normalize=True)

    def gamma(model, layer):
        return relative(np.abs(np.asarray(model.get_layer(layer).gamma, "float64")))

    model, graph = networks["residual_a"]
    scores = criterion(model, graph)
    stem, two, four = (gamma(model, f"{name}_bn") for name in ("stem", "two", "four"))
    np.testing.assert_allclose(scores["stem_conv"], (stem + two[1:5] + four[1:5]) / 3)
    np.testing.assert_allclose(scores["two"], ((two + four) / 2)[[0, 5, 6]])

    model, graph = networks["depthwise"]
    scores = criterion(model, graph)
    pairs = gamma(model, "depthwise_bn").reshape(3, 2).mean(axis=1)
    np.testing.assert_allclose(scores["stem_conv"], (gamma(model, "stem_bn") + pairs) / 2)


def test_batch_norm_scale_is_absolute():
    inputs = image()
    model = keras.Model(inputs, head(norm("bn")(conv(4, "a")(inputs))))
    model.get_layer("bn").gamma.assign([1.0, -3.0, 0.0, 2.0])
    graph = tfrcp.trace(model)
    scores = criteria.BatchNormScale(normalize=True)(model, graph)
    np.testing.assert_allclose(scores["a"], np.array([1.0, 3.0, 0.0, 2.0]) / 1.5)
    scores = criteria.get("batch_norm_scale")(model, graph)
    np.testing.assert_array_equal(scores["a"], [1.0, 3.0, 0.0, 2.0])


def test_batch_norm_scale_does_not_apply_without_batch_norm(networks):
    model, graph = networks["vgg"]
    with pytest.raises(ValueError, match="BatchNormScale does not apply to group 'c'.*batch norm"):
        criteria.get("batch_norm_scale")(model, graph)


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_weights_that_are_not_finite(name):
    model = NETWORKS["chain"].build()
    kernel = np.asarray(model.get_layer("b").kernel).copy()
    kernel[0, 0, 0, 0] = np.nan
    model.get_layer("b").kernel.assign(kernel)
    with pytest.raises(ValueError, match="'b' are not all finite"):
        criteria.get(name)(model, tfrcp.trace(model))


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_layer_of_zeros_scores_zero(name):
    model = NETWORKS["chain"].build()
    model.get_layer("b").kernel.assign(np.zeros((3, 3, 4, 6)))
    scores = criteria.get(name)(model, tfrcp.trace(model))
    np.testing.assert_array_equal(scores["b"], np.zeros(6))


def test_random_is_seeded(networks):
    model, graph = networks["residual_a"]
    zero, default, other = (
        criterion(model, graph)
        for criterion in (criteria.Random(seed=0), criteria.Random(), criteria.Random(seed=1))
    )
    for name in zero:
        np.testing.assert_array_equal(zero[name], default[name])
        assert not np.array_equal(zero[name], other[name])
        assert 0 <= zero[name].min() <= zero[name].max() < 1
    assert not np.array_equal(zero["stem_conv"][:3], zero["two"])
