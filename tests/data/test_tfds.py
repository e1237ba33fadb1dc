"""TensorFlow Datasets folders as splits, and what a missing one says."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.data.small_images import examples, image_features, keys, tiny_builder, tiny_images
from tfrcp import data


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

    def test_other_kinds_of_data_are_refused(self, tmp_path):
        splits = {name: examples(*tiny_images(4, 0)) for name in ("train", "test")}
        builder = tiny_builder(image_features(), splits, None)
        builder(data_dir=tmp_path).download_and_prepare()
        with pytest.raises(ValueError, match="'tiny' must be an image classification"):
            data.load("tiny", data_dir=tmp_path)

    def test_images_of_different_sizes_need_one(self, tmp_path):
        splits = {name: examples(*tiny_images(4, 0)) for name in ("train", "test")}
        builder = tiny_builder(image_features((None, None, 3)), splits)
        builder(data_dir=tmp_path).download_and_prepare()
        with pytest.raises(ValueError, match="`image_size` must say what they are resized to"):
            data.load("tiny", data_dir=tmp_path)
        splits = data.load("tiny", data_dir=tmp_path, image_size=8, holdout=0.25)
        assert splits.train.images.shape == (3, 8, 8, 3)

    @pytest.mark.parametrize("name", ["cifar10", "cifar10:3.0.2"])
    def test_unprepared_data_says_where_and_how(self, tmp_path, name):
        with pytest.raises(FileNotFoundError) as error:
            data.load(name, data_dir=tmp_path)
        message = str(error.value)
        assert f"'{name}' is not prepared in {tmp_path}." in message
        assert "download=True (--config.data.download=true)" in message
        assert f"`tfrcp prepare-data --name={name} --data_dir={tmp_path}`" in message
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
            name, data_dir = "tiny", tmp_path

            def download_and_prepare(self, download_config):
                raise ConnectionError("no route.")

        monkeypatch.setattr(tfds, "list_builders", lambda **_: ["tiny"])
        monkeypatch.setattr(tfds, "builder", lambda name, data_dir: Unreachable())
        with pytest.raises(ValueError, match="'tiny' could not be prepared in .*: no route."):
            data.load("tiny", data_dir=tmp_path, download=True)
