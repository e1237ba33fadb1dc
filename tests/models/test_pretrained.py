"""Weights under PyTorch names: each array reaches its place, or nothing is loaded."""

import numpy as np
import pytest

from tests.models.lite0_arrays import lite0_arrays
from tfrcp.models import (
    efficientnet_lite0,
    load_pytorch_cifar_resnet,
    load_pytorch_efficientnet_lite0,
    resnet20,
    vgg16,
)

WIDTHS = (16, 32, 64)


def pytorch_arrays(seed=0):
    """A made-up state of a PyTorch ResNet-20, in that network's own order and shapes."""
    rng = np.random.default_rng(seed)
    arrays = {}

    def convolution(name, inputs, outputs):
        arrays[f"{name}.weight"] = rng.normal(size=(outputs, inputs, 3, 3)) / np.sqrt(9 * inputs)

    def norm(name, width):
        for part in ("weight", "bias", "running_mean", "running_var"):
            arrays[f"{name}.{part}"] = rng.uniform(0.5, 1.5, size=width)
        arrays[f"{name}.num_batches_tracked"] = np.array(100)

    convolution("conv1", 3, 16)
    norm("bn1", 16)
    inputs = 16
    for stage, width in enumerate(WIDTHS, 1):
        for block in range(3):
            for index in (1, 2):
                convolution(f"layer{stage}.{block}.conv{index}", inputs, width)
                norm(f"layer{stage}.{block}.bn{index}", width)
                inputs = width
    arrays["linear.weight"] = rng.normal(size=(10, 64))
    arrays["linear.bias"] = rng.normal(size=10)
    return {name: array.astype("float32") for name, array in arrays.items()}


def reference(arrays, image):
    """The PyTorch network on one image [height, width, 3], in NumPy and channels first."""

    def convolve(x, name, stride):
        kernel = arrays[f"{name}.weight"]
        x = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
        return np.einsum("ihwyx,oiyx->ohw", windows[:, ::stride, ::stride], kernel)

    def norm(x, name):
        gamma, beta, mean, variance = (
            arrays[f"{name}.{part}"][:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta

    x = np.maximum(norm(convolve(image.transpose(2, 0, 1), "conv1", 1), "bn1"), 0)
    for stage in (1, 2, 3):
        for block in range(3):
            name, stride, skip = f"layer{stage}.{block}", 1, x
            if stage > 1 and block == 0:
                stride, quarter = 2, WIDTHS[stage - 1] // 4
                skip = np.pad(x[:, ::2, ::2], ((quarter, quarter), (0, 0), (0, 0)))
            x = np.maximum(norm(convolve(x, f"{name}.conv1", stride), f"{name}.bn1"), 0)
            x = np.maximum(norm(convolve(x, f"{name}.conv2", 1), f"{name}.bn2") + skip, 0)
    return arrays["linear.weight"] @ x.mean(axis=(1, 2)) + arrays["linear.bias"]


@pytest.fixture(scope="module")
def model():
    return resnet20()


def write(path, arrays):
    np.savez(path, **arrays)
    return path


def test_loaded_network_computes_what_the_original_does(model, tmp_path):
    arrays = pytorch_arrays()
    load_pytorch_cifar_resnet(model, write(tmp_path / "weights.npz", arrays))
    image = np.random.default_rng(1).normal(size=(32, 32, 3)).astype("float32")
    np.testing.assert_allclose(
        np.asarray(model(image[None]))[0], reference(arrays, image), rtol=1e-3
    )


def without(arrays, name):
    return {key: array for key, array in arrays.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: without(a, "layer2.0.conv1.weight"), "layer2.0.conv1.weight: missing from"),
        (lambda a: a | {"layer1.3.bn1.bias": np.ones(16)}, "layer1.3.bn1.bias: not in the model"),
        (
            lambda a: a | {"linear.weight": np.ones((100, 64))},
            r"linear.weight: \(64, 100\) in the file, \(64, 10\) in the model",
        ),
        (lambda a: {"x": np.ones(3)}, r"bn1.bias: missing[\s\S]*and 90 more"),
    ],
)
def test_arrays_that_do_not_fit_load_nothing(model, tmp_path, change, message):
    before = model.get_weights()
    path = write(tmp_path / "weights.npz", change(pytorch_arrays(seed=2)))
    with pytest.raises(ValueError, match=message):
        load_pytorch_cifar_resnet(model, path)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(
    "build",
    [lambda: resnet20((8, 8, 3), shortcut="B"), lambda: vgg16((8, 8, 3), channels=[1] * 13)],
)
def test_other_networks_are_refused(tmp_path, build):
    path = write(tmp_path / "weights.npz", pytorch_arrays())
    with pytest.raises(ValueError, match="must be a CIFAR ResNet of tfrcp.models.*layer '"):
        load_pytorch_cifar_resnet(build(), path)


def test_missing_file(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="no weight file .*none.npz"):
        load_pytorch_cifar_resnet(model, tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_file_that_is_no_npz(model, tmp_path, content):
    path = tmp_path / "weights.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not an .npz file, or was cut short"):
        load_pytorch_cifar_resnet(model, path)


def test_single_array_is_no_npz(model, tmp_path):
    np.save(tmp_path / "weights.npy", np.ones(3))
    with pytest.raises(ValueError, match="is not an .npz file, or was cut short"):
        load_pytorch_cifar_resnet(model, tmp_path / "weights.npy")


def test_pickled_arrays_are_refused(model, tmp_path):
    path = write(tmp_path / "weights.npz", {"conv1.weight": np.array([None])})
    with pytest.raises(ValueError, match="not a readable .npz file of arrays"):
        load_pytorch_cifar_resnet(model, path)


def test_lite0_takes_every_array_by_name(tmp_path):
    arrays = lite0_arrays()
    path = write(tmp_path / "weights.npz", arrays)
    model = efficientnet_lite0((32, 32, 3), classes=3)
    load_pytorch_efficientnet_lite0(model, path, classes=[7, 999, 0])
    kernels = {
        "stem_conv": arrays["_conv_stem.weight"].transpose(2, 3, 1, 0),
        "block4_depthwise_conv": arrays["_blocks.3._depthwise_conv.weight"].transpose(2, 3, 0, 1),
        "block16_project_conv": arrays["_blocks.15._project_conv.weight"].transpose(2, 3, 1, 0),
        "classifier": arrays["_fc.weight"][[7, 999, 0]].T,
    }
    for name, kernel in kernels.items():
        np.testing.assert_array_equal(np.asarray(model.get_layer(name).kernel), kernel)
    np.testing.assert_array_equal(np.asarray(model.get_layer("classifier").bias), [7, 999, 0])
    variance = np.asarray(model.get_layer("block4_depthwise_bn").moving_variance)
    np.testing.assert_array_equal(variance, arrays["_blocks.3._bn1.running_var"])
    with pytest.raises(ValueError, match="_bn0.bias: missing from the file"):
        load_pytorch_efficientnet_lite0(
            model, write(tmp_path / "other.npz", without(arrays, "_bn0.bias")), classes=[1, 2, 3]
        )


def test_classes_that_the_file_does_not_have(tmp_path):
    path = write(tmp_path / "weights.npz", lite0_arrays())
    with pytest.raises(ValueError, match=r"`classes` must .* 0 to 999. Received: \[3, 1000\]"):
        load_pytorch_efficientnet_lite0(efficientnet_lite0(classes=2), path, classes=[3, 1000])
