"""Arrays from any data; labels that are checked."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrcp import data

X = np.random.default_rng(0).normal(size=(10, 4, 4, 1)).astype("float32")
Y = np.arange(10) % 3


class Batches(keras.utils.PyDataset):
    """Three batches of at most four images; `endless` ones go round."""

    def __init__(self, labelled, endless=False):
        super().__init__()
        self.labelled, self.endless, self.read = labelled, endless, 0

    @property
    def num_batches(self):
        return None if self.endless else 3

    def __getitem__(self, index):
        self.read += 1
        part = slice(4 * (index % 3), 4 * (index % 3) + 4)
        return (X[part], Y[part]) if self.labelled else X[part]


def batched(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(4)


class TestAsArrays:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: (X, Y),
            lambda: (X, Y, np.ones(10)),
            lambda: (tf.constant(X), tf.constant(Y)),
            lambda: batched(X, Y),
            lambda: batched(X, Y, np.ones(10)),
            lambda: Batches(labelled=True),
        ],
    )
    def test_labelled_data(self, make):
        x, y = data.as_arrays(make(), labels=True)
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(y, Y)
        x, y = data.as_arrays(make(), count=5, labels=True)
        np.testing.assert_array_equal(x, X[:5])
        np.testing.assert_array_equal(y, Y[:5])
        assert data.as_arrays(make())[1] is None

    @pytest.mark.parametrize(
        "make", [lambda: X, lambda: (X,), lambda: batched(X), lambda: Batches(labelled=False)]
    )
    def test_images_alone(self, make):
        x, y = data.as_arrays(make(), count=100)
        np.testing.assert_array_equal(x, X)
        assert y is None
        with pytest.raises(ValueError, match="must come with labels"):
            data.as_arrays(make(), labels=True)

    def test_splits_of_load(self, digits):
        x, y = data.as_arrays(digits.train.dataset(64), count=100, labels=True)
        np.testing.assert_allclose(x, digits.train.arrays(100)[0], rtol=1e-6)
        np.testing.assert_array_equal(y, digits.train.labels[:100])

    def test_reads_no_further_than_needed(self):
        batches = Batches(labelled=True, endless=True)
        assert len(data.as_arrays(batches, count=8)[0]) == 8
        assert batches.read == 2
        assert len(data.as_arrays(batched(X).repeat(), count=25)[0]) == 25

    @pytest.mark.parametrize(
        "endless", [lambda: batched(X).repeat(), lambda: Batches(labelled=True, endless=True)]
    )
    def test_endless_data_needs_a_count(self, endless):
        with pytest.raises(ValueError, match="`count` must say how many"):
            data.as_arrays(endless())

    @pytest.mark.parametrize(
        "make",
        [
            lambda: ({"left": X, "right": X[:, 0]}, Y),
            lambda: {"left": X, "right": X[:, 0]},
            lambda: batched({"left": X, "right": X[:, 0]}),
        ],
    )
    def test_several_inputs_keep_their_structure(self, make):
        x, _ = data.as_arrays(make(), count=6)
        np.testing.assert_array_equal(x["left"], X[:6])
        np.testing.assert_array_equal(x["right"], X[:6, 0])

    def test_list_of_inputs(self):
        x, y = data.as_arrays(([X, X[:, 0]], Y), labels=True)
        assert [part.shape for part in x] == [(10, 4, 4, 1), (10, 4, 1)]
        assert y.shape == (10,)

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            (lambda: X[:0], "at least one image"),
            (lambda: batched(X, Y).take(0), "at least one image"),
            (lambda: "digits", "Received: str"),
            (lambda: None, "Received: NoneType"),
            (lambda: [X, Y], "a tuple of arrays.*Received: list"),
            (lambda: (x for x in X), "Received: generator"),
            (lambda: (), "Received: 0 parts"),
            (lambda: (X, Y, Y, Y), "Received: 4 parts"),
            (lambda: (X, Y[:9]), r"as many labels as images.*\(10, 4, 4, 1\), \(9,\)"),
            (lambda: tf.data.Dataset.from_tensor_slices((X, Y)), "or batches"),
            (lambda: np.array(["a", "b"]), "must hold numbers"),
            (lambda: ({}, Y), "one entry per image"),
            (lambda: (X, Y.tolist()), "give labels as numpy.array"),
        ],
    )
    def test_bad_data(self, bad, message):
        with pytest.raises(ValueError, match=message):
            data.as_arrays(bad(), labels=isinstance(bad(), tuple | tf.data.Dataset))

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_counts_images_that_are_not_finite(self, value):
        x = X.copy()
        x[2, 0, 0], x[7] = value, value
        with pytest.raises(ValueError, match="2 of 10 images with NaN or infinite"):
            data.as_arrays(x)
        assert len(data.as_arrays(x, count=2)[0]) == 2

    def test_bad_count(self):
        with pytest.raises(ValueError, match="`count` must be an int of at least 1"):
            data.as_arrays(X, count=0)


class TestCheckLabels:
    @pytest.mark.parametrize(
        "y",
        [
            [0, 1, 2],
            np.array([2], np.uint8),
            np.array([0.0, 2.0], "float32"),
            np.array([[0.0], [2.0]]),
            np.array([[0], [2]]),
            np.eye(3, dtype="float32"),
            np.eye(3, dtype=int),
            np.full((2, 3), 1 / 3),
            tf.constant([1, 2]),
        ],
    )
    def test_good(self, y):
        data.check_labels(y, 3)

    @pytest.mark.parametrize(
        ("y", "message"),
        [
            ([0, 3], r"ints in \[0, 3\).*values from 0 to 3"),
            ([-1, 2], r"values from -1 to 2"),
            ([0.0, 1.5], r"dtype float64, shape \(2,\), values from 0.0 to 1.5"),
            ([0.0, 3.0], r"ints in \[0, 3\).*values from 0.0 to 3.0"),
            ([0.0, np.nan], "nan"),
            ([True, False], "dtype bool"),
            (["cat"], "one-hot rows of 3"),
            ([], r"shape \(0,\)"),
            (1, r"dtype int64, shape \(\)"),
            (np.ones((2, 3)), r"shape \(2, 3\)"),
            (np.eye(4), r"shape \(4, 4\)"),
            (np.full((2, 3), np.nan), "nan"),
        ],
    )
    def test_bad(self, y, message):
        with pytest.raises(ValueError, match=message):
            data.check_labels(y, 3)


class TestCheckDisjoint:
    X = np.arange(240.0).reshape(40, 2, 3)

    def check(self, first, second):
        data.check_disjoint(first, second, ("Training data", "holdout"))

    def test_good(self):
        self.check(self.X[:20], self.X[20:])
        self.check({"a": self.X, "b": self.X}, {"a": self.X, "b": self.X[::-1]})

    def test_single_copies_are_no_leak(self):
        self.check(self.X[:20], self.X[19:])

    @pytest.mark.parametrize("second", [X, X[::-1], X[:5], X[18:], np.repeat(X[:1], 9, axis=0)])
    def test_bad(self, second):
        with pytest.raises(ValueError, match="Training data and holdout must be disjoint"):
            self.check(self.X[:20], second)


def test_joined_batches_are_what_concatenation_gives():
    x = np.random.default_rng(0).integers(0, 256, (11, 3, 3, 2)).astype("uint8")
    dataset = tf.data.Dataset.from_tensor_slices(({"a": x, "b": x[..., 0] / 7}, x[:, 0, 0])).batch(
        4
    )
    found = data.read_examples(dataset, count=10)
    assert found.batches == (4, 4, 2)
    assert found.x["a"].dtype == found.y.dtype == "uint8"
    np.testing.assert_array_equal(found.x["a"], x[:10])
    np.testing.assert_array_equal(found.x["b"], x[:10, ..., 0] / 7)
    np.testing.assert_array_equal(found.y, x[:10, 0, 0])


def test_batches_of_different_shapes_are_refused():
    class Uneven(keras.utils.PyDataset):
        num_batches = 2

        def __getitem__(self, index):
            return np.zeros((2, 4 if index else 1))

    with pytest.raises(ValueError):
        data.read_examples(Uneven())


def test_overlap_is_counted_over_all_inputs_of_an_example():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(40, 3)), random.normal(size=(40, 2))
    names = ("first", "second")
    data.check_disjoint((a[:20], b[:20]), (a[:20], b[20:]), names)
    with pytest.raises(ValueError, match="5 images that are in both"):
        data.check_disjoint((a[:20], b[:20]), (a[15:35], b[15:35]), names)
