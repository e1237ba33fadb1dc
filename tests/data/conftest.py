"""The digits, and a small prepared TensorFlow Datasets folder."""

import pytest

from tests.data.small_images import examples, image_features, tiny_builder, tiny_images
from tfrcp import data


@pytest.fixture(scope="session")
def digits():
    return data.load("digits")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A prepared tfds directory, its training and its test images."""
    directory = tmp_path_factory.mktemp("tfds")
    train, test = tiny_images(40, seed=0), tiny_images(12, seed=1)
    splits = {"train": examples(*train), "test": examples(*test)}
    tiny_builder(image_features(), splits)(data_dir=directory).download_and_prepare()
    return directory, train, test
