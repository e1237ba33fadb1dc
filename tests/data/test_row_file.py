"""Images that are too many for memory lie in a file."""

import numpy as np
import pytest
import tensorflow as tf

from tfrcp import data
from tfrcp.search import inputs

X = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 3)).astype("uint8")
Y = np.arange(50)


def batched(x=X):
    return tf.data.Dataset.from_tensor_slices((x, Y)).batch(8)


@pytest.mark.parametrize("memory", [0, 3 * 8 * 48, X.nbytes - 1])
def test_a_file_is_like_the_array(memory):
    found = data.read_examples(batched(), memory=memory)
    file = found.x
    assert isinstance(file, data.RowFile)
    assert (file.shape, file.dtype, file.ndim, len(file)) == (X.shape, X.dtype, 4, 50)
    assert found.batches == (8, 8, 8, 8, 8, 8, 2)
    np.testing.assert_array_equal(found.y, Y)
    order = np.random.default_rng(1).permutation(50)[:20]
    for index in (slice(None), slice(7, 20), slice(1, 50, 9), slice(48, 99), 3, -1, order):
        np.testing.assert_array_equal(file[index], X[index])
        np.testing.assert_array_equal(file.rows(order)[index], X[order][index]) if isinstance(
            index, slice
        ) else None
    np.testing.assert_array_equal(file.rows(order).rows(np.array([3, 1]))[:], X[order][[3, 1]])
    np.testing.assert_array_equal(np.stack(list(file)), X)
    assert (file.min(), file.max()) == (X.min(), X.max())
    with pytest.raises(IndexError):
        file[50]
    assert inputs.checksum(file) == inputs.checksum(X)


def test_what_fits_stays_an_array():
    for limit in (None, X.nbytes):
        assert isinstance(data.read_examples(batched(), memory=limit).x, np.ndarray)
    assert np.shares_memory(data.read_examples((X, Y), memory=0).x, X)


def test_structures():
    dataset = batched({"a": X, "b": X[:, :2] / 255})
    found = data.read_examples(dataset, memory=0, count=21)
    np.testing.assert_array_equal(found.x["a"][:], X[:21])
    np.testing.assert_array_equal(found.x["b"][:], X[:21, :2] / 255)


def test_numbers_that_are_not_finite_are_found():
    x = X.astype("float32")
    x[[3, 40], 0, 0, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match="2 of 50 images with NaN"):
        data.read_examples(batched(x), memory=0)


def test_overlap_is_found():
    file = data.read_examples(batched(), memory=0).x
    with pytest.raises(ValueError, match="10 images that are in both"):
        data.check_disjoint(X[:10], file, ("a", "b"))


def test_images_are_held_out_without_being_read():
    expected = inputs.hold_out(X, Y, 3, verbose=False)
    found = inputs.hold_out(batched(), None, 3, memory=0, verbose=False)
    for (x, y), (own_x, own_y) in zip(expected, found, strict=True):
        assert isinstance(own_x, data.RowFile)
        np.testing.assert_array_equal(own_x[:], x)
        np.testing.assert_array_equal(own_y, y)


def test_a_full_disk_is_named(monkeypatch):
    file = data.RowFile(X)

    class Full:
        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(file, "_file", Full())
    with pytest.raises(OSError, match="TMPDIR"):
        file.append(X)
