"""Digits and .npz files as splits that share no image; clear refusals."""

import numpy as np
import pytest

from tests.data.small_images import keys, tiny_images
from tfrcp import data

DIGITS = 1797


class TestDigits:
    def test_splits_hold_every_image_once(self, digits):
        from sklearn.datasets import load_digits

        parts = [split.arrays()[0] for split in (digits.train, digits.holdout, digits.test)]
        assert [len(part) for part in parts] == [1294, 144, 359]
        everything = load_digits().images.astype("float32")[..., None] / 16
        assert sorted(keys(np.concatenate(parts))) == sorted(keys(everything))
        assert len(set(keys(everything))) == DIGITS  # so that sharing an image would show

    def test_shape_and_range(self, digits):
        x, y = digits.train.arrays()
        assert (digits.name, digits.classes, digits.input_shape) == ("digits", 10, (8, 8, 1))
        assert (x.dtype, y.dtype) == (np.float32, np.int32)
        assert (x.min(), x.max()) == (0, 1)

    def test_every_split_is_stratified(self, digits):
        for split in (digits.train, digits.holdout, digits.test):
            share = np.bincount(split.labels, minlength=10) / split.size
            np.testing.assert_allclose(share, 0.1, atol=0.015)

    def test_labels_stay_with_their_images(self, digits):
        from sklearn.datasets import load_digits

        source = load_digits()
        labels = dict(zip(keys(source.images.astype("float32") / 16), source.target, strict=True))
        x, y = digits.holdout.arrays()
        assert [labels[key] for key in keys(x)] == y.tolist()

    def test_seed_draws_the_holdout_and_leaves_the_test_alone(self, digits):
        again, other = data.load("digits", seed=0), data.load("digits", seed=1)
        np.testing.assert_array_equal(again.holdout.images, digits.holdout.images)
        np.testing.assert_array_equal(other.test.images, digits.test.images)
        assert set(keys(other.holdout.images)) != set(keys(digits.holdout.images))

    def test_holdout_share(self):
        assert data.load("digits", holdout=0.5).holdout.size == 719

    def test_normalised(self, digits):
        x = digits.test.arrays(5)[0]
        normalised = data.load("digits", mean=(0.5,), std=[0.25]).test.arrays(5)[0]
        np.testing.assert_allclose(normalised, (x - 0.5) / 0.25, rtol=1e-6)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"holdout": 0}, r"`holdout` must be a number in \(0, 1\)"),
            ({"holdout": 1.0}, r"`holdout` must be a number"),
            ({"holdout": 1e-5}, r"must leave images in both splits of the 1438"),
            ({"mean": (0.1, 0.2, 0.3)}, r"`mean` must hold 1 finite numbers"),
            ({"std": (0.0,)}, r"`std` must be above 0"),
            ({"std": (float("nan"),)}, r"`std` must hold 1 finite"),
        ],
    )
    def test_bad_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            data.load("digits", **arguments)


def npz_arrays(**changes):
    (x_train, y_train), (x_test, y_test) = tiny_images(20, 0), tiny_images(8, 1)
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return {name: array for name, array in (arrays | changes).items() if array is not None}


class TestNpz:
    def load(self, directory, **changes):
        np.savez(directory / "images.npz", **npz_arrays(**changes))
        return data.load("images.npz", data_dir=directory)

    def test_reads_uint8_images(self, tmp_path):
        splits = self.load(tmp_path)
        assert (splits.classes, splits.input_shape) == (4, (6, 5, 3))
        assert [s.size for s in (splits.train, splits.holdout, splits.test)] == [18, 2, 8]
        np.testing.assert_allclose(splits.test.arrays()[0], npz_arrays()["x_test"] / 255, rtol=1e-6)

    def test_reads_floats_as_they_are_greyscale_and_columns_of_labels(self, tmp_path):
        arrays = npz_arrays()
        splits = self.load(
            tmp_path,
            x_train=arrays["x_train"][..., 0] / 255,
            x_test=arrays["x_test"][..., 0] / 255,
            y_test=arrays["y_test"][:, None],
        )
        assert splits.input_shape == (6, 5, 1)
        np.testing.assert_allclose(
            splits.test.arrays()[0][..., 0], arrays["x_test"][..., 0] / 255, rtol=1e-6
        )

    def test_file_may_state_its_classes(self, tmp_path):
        assert self.load(tmp_path, classes=np.array(7)).classes == 7

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"y_test": None}, r"Missing: \['y_test'\]"),
            ({"y_test": np.arange(8)}, r"y_test in .*images.npz: .*\[0, 4\).*from 0 to 7"),
            ({"y_train": np.arange(20) - 1}, r"y_train in .*from -1 to 18"),
            ({"classes": np.array(3)}, r"y_train in .*\[0, 3\).*from 0 to 3"),
            ({"y_test": np.arange(7)}, r"y_test in .* must be 8 integer labels"),
            ({"y_test": np.zeros(8)}, r"y_test in .* must be 8 integer labels.*float64"),
            ({"x_test": np.full((8, 6, 5, 3), np.nan)}, r"x_test in .*8 of 8 images with NaN"),
            ({"x_test": np.zeros((8, 6, 5, 3))}, r"must be alike in image shape and dtype"),
            ({"x_test": np.zeros((8, 5, 5, 3), np.uint8)}, r"must be alike in image shape"),
            ({"x_test": np.zeros((8, 90), np.uint8)}, r"x_test in .* must be images \[N"),
            ({"x_test": np.zeros((8, 6, 5, 3), int)}, r"uint8 or float. Received: int64"),
            ({"x_test": np.zeros((0, 6, 5, 3))}, r"x_test in .* must be images"),
        ],
    )
    def test_bad_arrays(self, tmp_path, changes, message):
        with pytest.raises(ValueError, match=message):
            self.load(tmp_path, **changes)

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=f"no data file {tmp_path}/none.npz. Make one"):
            data.load("none.npz", data_dir=tmp_path)

    def test_unreadable_file(self, tmp_path):
        (tmp_path / "bad.npz").write_bytes(b"not an archive")
        with pytest.raises(ValueError, match="bad.npz is not an .npz file"):
            data.load("bad.npz", data_dir=tmp_path)
