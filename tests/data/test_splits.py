"""Batches that are a function of seed and epoch alone."""

import itertools

import numpy as np
import pytest

from tests.data.small_images import keys
from tfrcp import data


def epoch_of(dataset):
    images, labels = zip(*dataset, strict=True)
    return np.concatenate(images), np.concatenate(labels)


class TestDataset:
    def test_plain_batches_are_the_arrays(self, digits):
        dataset = digits.test.dataset(100)
        assert dataset.cardinality() == 4
        x, y = epoch_of(dataset)
        np.testing.assert_allclose(x, digits.test.arrays()[0], rtol=1e-6)
        np.testing.assert_array_equal(y, digits.test.labels)
        assert dataset.element_spec[0].shape == (None, 8, 8, 1)

    def test_shuffled_epochs_differ_and_hold_every_image(self, digits):
        dataset = digits.holdout.dataset(32, shuffle=True)
        first, second = epoch_of(dataset), epoch_of(dataset)
        assert not np.array_equal(first[0], second[0])
        for x, _ in (first, second):
            assert sorted(keys(x)) == sorted(keys(digits.holdout.images))

    def test_order_and_augmentation_follow_seed_and_epoch(self, digits):
        def dataset(**arguments):
            return digits.holdout.dataset(32, shuffle=True, augment="shift", **arguments)

        whole = dataset(seed=5)
        epochs = [epoch_of(whole)[0] for _ in range(3)]
        resumed = dataset(seed=5, epoch=2)
        for _ in range(2):
            np.testing.assert_array_equal(epoch_of(resumed)[0], epochs[2])
        assert not np.array_equal(epoch_of(dataset(seed=6))[0], epochs[0])

    @pytest.mark.parametrize(
        ("augment", "reach", "flips"), [("cifar", 4, True), ("shift", 1, False)]
    )
    def test_augmented_images_are_shifted_or_flipped_copies(self, tiny, augment, reach, flips):
        split = data.load("tiny", data_dir=tiny[0]).test
        x, y = epoch_of(split.dataset(5, augment=augment))
        np.testing.assert_array_equal(y, split.labels)
        seen_flip, seen_plain, shifts = 0, 0, set()
        for original, image in zip(split.arrays()[0], x, strict=True):
            padded = np.pad(original, ((reach, reach), (reach, reach), (0, 0)))
            height, width = original.shape[:2]
            plain = flipped = False
            for row, column in itertools.product(range(2 * reach + 1), repeat=2):
                crop = padded[row : row + height, column : column + width]
                if np.allclose(crop, image):
                    plain = True
                    shifts.add((row, column))
                flipped |= np.allclose(crop[:, ::-1], image)
            assert plain or flipped
            seen_flip += flipped and not plain
            seen_plain += plain
        assert (seen_flip > 0) == flips
        assert seen_plain and len(shifts) > 1

    def test_arrays_take_the_first_images(self, digits):
        x, y = digits.train.arrays(7)
        np.testing.assert_array_equal(x, digits.train.arrays()[0][:7])
        assert y.shape == (7,)
        assert digits.train.arrays(10**6)[0].shape[0] == digits.train.size

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"augment": "mixup"}, r"one of \['cifar', 'imagenet', 'shift'\]. Received: 'mixup'"),
            ({"batch_size": 0}, "`batch_size` must be an int of at least 1"),
            ({"batch_size": 2.0}, "`batch_size` must be an int"),
            ({"seed": -1}, "`seed` must be an int of at least 0"),
            ({"epoch": -1}, "`epoch` must be an int of at least 0"),
        ],
    )
    def test_bad_arguments(self, digits, arguments, message):
        with pytest.raises(ValueError, match=message):
            digits.train.dataset(**{"batch_size": 8, **arguments})

    def test_bad_count(self, digits):
        with pytest.raises(ValueError, match="`count` must be an int of at least 1.*=0"):
            digits.train.arrays(0)
