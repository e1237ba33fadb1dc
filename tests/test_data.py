"""Splits that share no image, reproducible batches, arrays from any data, clear refusals."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tfrcp import data

DIGITS = 1797


def keys(images):
    return [image.tobytes() for image in images]


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def tiny_images(count, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, size=(count, 6, 5, 3), dtype=np.uint8), np.arange(count) % 4


def tiny_builder(features, splits, supervised_keys=("image", "label")):
    """A tfds builder class named `tiny`; `splits` maps names to lists of examples."""
    with tfds.core.registered.skip_registration():

        class Tiny(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=tfds.features.FeaturesDict(features),
                    supervised_keys=supervised_keys,
                )

            def _split_generators(self, dl_manager):
                return {name: self._generate_examples(name) for name in splits}

            def _generate_examples(self, name):
                yield from enumerate(splits[name])

    return Tiny


def image_features(shape=(6, 5, 3)):
    return {
        "image": tfds.features.Image(shape=shape),
        "label": tfds.features.ClassLabel(num_classes=4),
    }


def examples(images, labels):
    return [
        {"image": image, "label": int(label)} for image, label in zip(images, labels, strict=True)
    ]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A prepared tfds directory, its training and its test images."""
    directory = tmp_path_factory.mktemp("tfds")
    train, test = tiny_images(40, seed=0), tiny_images(12, seed=1)
    splits = {"train": examples(*train), "test": examples(*test)}
    tiny_builder(image_features(), splits)(data_dir=directory).download_and_prepare()
    return directory, train, test


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
            ({"holdout": 0}, r"`holdout` must be a share in \(0, 1\)"),
            ({"holdout": 1.0}, r"`holdout` must be a share"),
            ({"holdout": 1e-5}, r"must leave images in both splits of the 1438"),
            ({"mean": (0.1, 0.2, 0.3)}, r"`mean` must hold 1 finite numbers"),
            ({"std": (0.0,)}, r"`std` must be above 0"),
            ({"std": (float("nan"),)}, r"`std` must hold 1 finite"),
        ],
    )
    def test_bad_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            data.load("digits", **arguments)


class TestTfds:
    def test_reads_a_prepared_directory(self, tiny):
        directory, train, test = tiny
        splits = data.load("tiny", data_dir=directory, holdout=0.2)
        assert (splits.classes, splits.input_shape) == (4, (6, 5, 3))
        assert [s.size for s in (splits.train, splits.holdout, splits.test)] == [32, 8, 12]
        assert np.bincount(splits.holdout.labels).tolist() == [2, 2, 2, 2]
        read = np.concatenate([splits.train.images, splits.holdout.images])
        assert sorted(keys(read)) == sorted(keys(train[0]))
        labels = dict(zip(keys(test[0]), test[1], strict=True))
        assert [labels[key] for key in keys(splits.test.images)] == splits.test.labels.tolist()

    def test_scales_and_normalises_each_channel(self, tiny):
        directory = tiny[0]
        mean, std = (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
        split = data.load("tiny", data_dir=str(directory), mean=mean, std=std).test
        expected = (split.images / 255 - mean) / std
        np.testing.assert_allclose(split.arrays()[0], expected, atol=1e-6)
        np.testing.assert_allclose(next(iter(split.dataset(12)))[0], expected, atol=1e-6)

    def test_same_seed_same_split(self, tiny):
        first, again, other = (data.load("tiny", data_dir=tiny[0], seed=s) for s in (0, 0, 1))
        np.testing.assert_array_equal(first.holdout.images, again.holdout.images)
        assert not np.array_equal(first.train.images, other.train.images)

    def test_validation_split_stands_in_for_a_test_split(self, tmp_path):
        splits = {"train": examples(*tiny_images(8, 0)), "validation": examples(*tiny_images(4, 1))}
        tiny_builder(image_features(), splits)(data_dir=tmp_path).download_and_prepare()
        assert data.load("tiny", data_dir=tmp_path, holdout=0.25).test.size == 4

    def test_needs_a_test_split(self, tmp_path):
        splits = {"train": examples(*tiny_images(8, 0))}
        tiny_builder(image_features(), splits)(data_dir=tmp_path).download_and_prepare()
        with pytest.raises(ValueError, match=r"`test` or `validation`. Received: \['train'\]"):
            data.load("tiny", data_dir=tmp_path)

    @pytest.mark.parametrize("fault", ["sizes", "no keys"])
    def test_other_kinds_of_data_are_refused(self, tmp_path, fault):
        shape = (None, None, 3) if fault == "sizes" else (6, 5, 3)
        supervised = ("image", "label") if fault == "sizes" else None
        splits = {name: examples(*tiny_images(4, 0)) for name in ("train", "test")}
        builder = tiny_builder(image_features(shape), splits, supervised)
        builder(data_dir=tmp_path).download_and_prepare()
        with pytest.raises(ValueError, match="'tiny' must be an image classification"):
            data.load("tiny", data_dir=tmp_path)

    @pytest.mark.parametrize("name", ["cifar10", "cifar10:3.0.2"])
    def test_unprepared_data_says_where_and_how(self, tmp_path, name):
        with pytest.raises(FileNotFoundError) as error:
            data.load(name, data_dir=tmp_path)
        message = str(error.value)
        assert f"'{name}' is not prepared in {tmp_path}." in message
        assert "download=True (--config.data.download=true)" in message
        assert f"tfds.builder('{name}', data_dir='{tmp_path}').download_and_prepare()" in message
        assert "--config.data.data_dir=DIR" in message

    @pytest.mark.parametrize(
        ("name", "close"), [("cifar1O", "'cifar10'"), ("tinny", "'tiny'"), ("digit", "'digits'")]
    )
    def test_unknown_name_suggests_close_ones(self, tiny, name, close):
        with pytest.raises(ValueError, match=f"Unknown.*'{name}'. Did you mean.*{close}.*tiny"):
            data.load(name, data_dir=tiny[0])

    @pytest.mark.parametrize("name", ["", "no such thing", "kaggle:thing"])
    def test_names_that_are_none(self, tmp_path, name):
        with pytest.raises(ValueError, match="Unknown data set"):
            data.load(name, data_dir=tmp_path / "none")

    def test_download_prepares_what_is_missing(self, tmp_path, monkeypatch):
        splits = {"train": examples(*tiny_images(8, 0)), "test": examples(*tiny_images(4, 1))}
        builder = tiny_builder(image_features(), splits)
        monkeypatch.setattr(tfds, "list_builders", lambda **_: ["tiny"])
        monkeypatch.setattr(tfds, "builder", lambda name, data_dir: builder(data_dir=data_dir))
        assert data.load("tiny", data_dir=tmp_path, holdout=0.5, download=True).train.size == 4

    def test_failed_download_is_one_message(self, tmp_path, monkeypatch):
        class Unreachable:
            def download_and_prepare(self):
                raise ConnectionError("no route.")

        monkeypatch.setattr(tfds, "list_builders", lambda **_: ["tiny"])
        monkeypatch.setattr(tfds, "builder", lambda name, data_dir: Unreachable())
        with pytest.raises(ValueError, match="'tiny' could not be prepared in .*: no route. Where"):
            data.load("tiny", data_dir=tmp_path, download=True)


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
        np.testing.assert_array_equal(epoch_of(resumed)[0], epochs[2])
        assert not np.array_equal(epoch_of(dataset(seed=6))[0], epochs[0])

    def test_resumed_fit_ends_at_the_same_weights(self, digits):
        def fit(*parts):
            keras.utils.set_random_seed(0)
            model = keras.Sequential(
                [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
            )
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile("sgd", loss)
            for start, end in parts:
                dataset = digits.holdout.dataset(32, shuffle=True, augment="shift", epoch=start)
                model.fit(dataset, initial_epoch=start, epochs=end, shuffle=False, verbose=0)
            return model.get_weights()[0]

        np.testing.assert_array_equal(fit((0, 3)), fit((0, 1), (1, 3)))

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
            ({"augment": "mixup"}, r"one of \['cifar', 'shift'\]. Received: augment='mixup'"),
            ({"batch_size": 0}, "`batch_size` must be an int of at least 1"),
            ({"batch_size": 2.0}, "`batch_size` must be an int"),
            ({"seed": -1}, "`seed` must be an int of at least 0"),
            ({"epoch": None}, "`epoch` must be an int of at least 0"),
        ],
    )
    def test_bad_arguments(self, digits, arguments, message):
        with pytest.raises(ValueError, match=message):
            digits.train.dataset(**{"batch_size": 8, **arguments})

    def test_bad_count(self, digits):
        with pytest.raises(ValueError, match="`count` must be an int of at least 1.*=0"):
            digits.train.arrays(0)


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
            ([0.0, 1.0], r"dtype float64, shape \(2,\), values from 0.0 to 1.0"),
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
