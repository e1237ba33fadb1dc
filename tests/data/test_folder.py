"""Folders of images: in memory, as a stream, and prepared for TensorFlow Datasets."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tests.data.small_images import keys, write_folder
from tests.nightly import mostly_nightly
from tfrcp import data
from tfrcp.data.encoded import unreadable_file
from tfrcp.data.prepare import prepare_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    write_folder(root / "train", {"ants": 12, "bees": 8}, seed=0)
    write_folder(root / "test", {"ants": 3, "bees": 3}, seed=1)
    return root


def stacked(batches):
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(labels)


@pytest.mark.parametrize("stream", [False, True])
def test_a_folder_becomes_three_splits(folder, stream):
    splits = data.load(str(folder), image_size=16, holdout=0.25, stream=stream)
    assert (splits.classes, splits.input_shape) == (2, (16, 16, 3))
    assert [part.size for part in (splits.train, splits.holdout, splits.test)] == [15, 5, 6]
    x, y = splits.holdout.arrays()
    assert x.shape == (5, 16, 16, 3) and np.bincount(y).tolist() == [3, 2]
    assert 0 <= x.min() and x.max() <= 1
    # Made images tell their class by their brightness.
    assert ((x.mean(axis=(1, 2, 3)) > 0.5) == (y == 1)).all()


def test_as_a_stream_the_images_are_those_in_memory(folder):
    memory, stream = (
        data.load(str(folder), image_size=16, stream=stream, mean=(0.5,) * 3, std=(0.2,) * 3)
        for stream in (False, True)
    )
    for part in ("train", "holdout", "test"):
        (x, y), (other, labels) = (getattr(splits, part).arrays() for splits in (memory, stream))
        np.testing.assert_array_equal(y, labels)
        np.testing.assert_allclose(x, other, atol=0.51 / 255 / 0.2)  # rounded to whole levels
    assert stream.train.arrays(4)[0].shape[0] == 4


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "augment", mostly_nightly(["none", "shift", "cifar", "imagenet"], "none", "imagenet")
)
def test_an_epoch_is_a_function_of_its_number(folder, augment, stream):
    split = data.load(str(folder), image_size=8, stream=stream).train

    def epoch(number):
        options = {"shuffle": True, "augment": augment, "seed": 3, "epoch": number}
        if augment == "none":
            options["augment"] = None
        return stacked(split.dataset(5, **options))

    (first, labels), (again, _), (other, _) = epoch(0), epoch(0), epoch(1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.bincount(labels).sum() == split.size
    assert first.shape == (split.size, 8, 8, 3)


@pytest.mark.parametrize("stream", [False, True])
def test_a_random_part_is_resized(folder, stream):
    split = data.load(str(folder), image_size=8, stream=stream).train
    plain = split.arrays()[0]
    changed = [stacked(split.dataset(5, augment="imagenet", seed=seed))[0] for seed in range(2)]
    for images in changed:
        assert not np.allclose(images, plain)
        np.testing.assert_allclose(images.mean(), plain.mean(), atol=0.1)


def test_the_folder_can_be_prepared_once(folder, tmp_path):
    builder = prepare_folder(str(folder), str(tmp_path), name="my_insects")
    loaded, info = tfds.load("my_insects", data_dir=tmp_path, with_info=True)
    assert info.features["label"].names == ["ants", "bees"]
    assert len(loaded["train"]) == 20 and builder.name == "my_insects"
    ours = data.load("my_insects", data_dir=tmp_path, image_size=16, holdout=0.25)
    files = data.load(str(folder), image_size=16, holdout=0.25)
    read = [np.concatenate([s.train.images, s.holdout.images]) for s in (ours, files)]
    assert sorted(keys(read[0])) == sorted(keys(read[1]))


@pytest.mark.parametrize("augment", [None, "imagenet"])
def test_a_prepared_data_set_can_be_streamed(folder, tmp_path, augment):
    prepare_folder(str(folder), str(tmp_path), name="insects")
    splits = data.load("insects", data_dir=tmp_path, image_size=16, stream=True, holdout=0.2)
    assert [part.size for part in (splits.train, splits.holdout, splits.test)] == [16, 4, 6]

    def epoch(number):
        options = {"shuffle": True, "augment": augment, "epoch": number}
        return stacked(splits.train.dataset(5, **options))

    first, again, other = epoch(0), epoch(0), epoch(1)
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])
    assert sorted(first[1]) == sorted(other[1])
    held = {image.tobytes() for image in splits.holdout.arrays()[0]}
    assert not held & {image.tobytes() for image in splits.train.arrays()[0]}


def test_classes_alone_are_split(tmp_path):
    write_folder(tmp_path / "all", {"ants": 10, "bees": 20}, seed=0)
    builder = prepare_folder(str(tmp_path / "all"), str(tmp_path / "tfds"), test_share=0.2)
    sizes = {name: part.num_examples for name, part in builder.info.splits.items()}
    assert builder.name == "all" and sizes == {"train": 24, "test": 6}


def test_bad_folders(folder, tmp_path):
    with pytest.raises(ValueError, match="`image_size` must say what the images"):
        data.load(str(folder))
    with pytest.raises(ValueError, match="`stream=True` needs `image_size`"):
        data.load(str(folder), stream=True)
    with pytest.raises(ValueError, match="`image_size` must be an int of at least 1"):
        data.load(str(folder), image_size=-1)
    with pytest.raises(ValueError, match="are for folders and TensorFlow data sets"):
        data.load("digits", image_size=8)
    write_folder(tmp_path / "only" / "train", {"ants": 2, "bees": 2}, seed=0)
    with pytest.raises(ValueError, match="must hold the folders train and test"):
        data.load(str(tmp_path / "only"), image_size=8)
    write_folder(tmp_path / "only" / "val", {"wasps": 2, "bees": 2}, seed=0)
    with pytest.raises(ValueError, match=r"has classes that .* lacks: \['wasps'\]"):
        data.load(str(tmp_path / "only"), image_size=8)
    with pytest.raises(ValueError, match="at least two folders"):
        prepare_folder(str(tmp_path / "only" / "train" / "ants"), str(tmp_path / "tfds"))
    with pytest.raises(ValueError, match="`name` must be like my_images"):
        prepare_folder(str(folder), str(tmp_path / "tfds"), name="My images")
    with pytest.raises(ValueError, match="`folder` must be a folder"):
        prepare_folder(str(tmp_path / "nowhere"), str(tmp_path / "tfds"))


def test_a_broken_image_is_named(tmp_path):
    write_folder(tmp_path / "train", {"ants": 4, "bees": 4}, seed=0)
    write_folder(tmp_path / "test", {"ants": 2, "bees": 2}, seed=1)
    broken = tmp_path / "train" / "bees" / "1.jpg"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(ValueError, match="bees/1.jpg is not a readable JPEG or PNG image"):
        data.load(str(tmp_path), image_size=8)
    with pytest.raises(ValueError, match="bees/1.jpg is not a readable JPEG or PNG image"):
        prepare_folder(str(tmp_path), str(tmp_path / "tfds"), name="broken")
    assert not (tmp_path / "tfds" / "broken").exists()


def test_too_much_for_the_memory(folder):
    with pytest.raises(ValueError, match="would take .* GB of this machine's .*stream=True"):
        data.load(str(folder), image_size=10**6)


def test_png_and_jpeg_are_decoded_alike(tmp_path):
    image = tf.constant(np.full((9, 14, 3), 200, "uint8"))
    for name in ("train", "test"):
        for label in ("a", "b"):
            (tmp_path / name / label).mkdir(parents=True)
            tf.io.write_file(str(tmp_path / name / label / "x.png"), tf.io.encode_png(image))
            tf.io.write_file(str(tmp_path / name / label / "y.JPG"), tf.io.encode_jpeg(image))
    x, _ = data.load(str(tmp_path), image_size=4, holdout=0.5, stream=True).test.arrays()
    assert x.shape == (4, 4, 4, 3)
    np.testing.assert_allclose(x, 200 / 255, atol=0.01)


def test_hidden_and_empty_folders_are_no_classes(folder, tmp_path):
    root = tmp_path / "pictures"
    shutil.copytree(folder, root)
    image = next((root / "train" / "ants").iterdir())
    for name in (".ipynb_checkpoints", "empty"):
        (root / "train" / name).mkdir()
    shutil.copy(image, root / "train" / ".ipynb_checkpoints")
    (root / "train" / "ants" / "folder.jpg").mkdir()
    before, after = (data.load(str(each), image_size=8) for each in (folder, root))
    assert (after.classes, after.train.size) == (before.classes, before.train.size)


def test_the_file_that_cannot_be_read_is_named(folder, tmp_path):
    root = tmp_path / "pictures"
    shutil.copytree(folder, root)
    assert unreadable_file(data.load(str(root), image_size=8, stream=True).test) is None
    bad = next((root / "test" / "bees").iterdir())
    bad.write_bytes(bad.read_bytes()[:40])
    assert unreadable_file(data.load(str(root), image_size=8, stream=True).test) == str(bad)
