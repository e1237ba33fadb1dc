"""Data sets whose files were got by hand."""

import gzip

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.data.small_images import image_features, tiny_builder
from tfrcp import data
from tfrcp.data.prepare import prepare


@pytest.fixture
def remote(monkeypatch):
    """A data set `tiny` that downloads one compressed file for each split."""

    base = tiny_builder(image_features(), {})
    with tfds.core.registered.skip_registration():

        class Tiny(base):
            def _split_generators(self, dl_manager):
                urls = {part: f"https://example.org/{part}.gz" for part in ("train", "test")}
                found = dl_manager.download_and_extract(urls)
                return {part: self._generate_examples(path) for part, path in found.items()}

            def _generate_examples(self, path):
                images = np.frombuffer(path.read_bytes(), "uint8").reshape(-1, 6, 5, 3)
                for index, image in enumerate(images):
                    yield index, {"image": image, "label": index % 4}

    def builder(name, data_dir):
        if name != "tiny":
            raise tfds.core.DatasetNotFoundError(f"Dataset {name} not found.")
        return Tiny(data_dir=data_dir)

    monkeypatch.setattr(tfds, "builder", builder)


def write(folder, part, count):
    images = np.random.default_rng(count).integers(0, 256, (count, 6, 5, 3), dtype="uint8")
    folder.mkdir(exist_ok=True)
    (folder / f"{part}.gz").write_bytes(gzip.compress(images.tobytes()))


def test_files_at_hand_replace_the_download(remote, tmp_path):
    write(tmp_path / "files", "train", 16)
    write(tmp_path / "files", "test", 8)
    prepare("tiny", tmp_path / "tfds", manual_dir=str(tmp_path / "files"))
    splits = data.load("tiny", data_dir=tmp_path / "tfds", holdout=0.25)
    assert [part.size for part in (splits.train, splits.holdout, splits.test)] == [12, 4, 8]
    prepare("tiny", tmp_path / "tfds", manual_dir=str(tmp_path / "files"))  # is left as it is


def test_a_missing_file_is_named_and_nothing_is_left(remote, tmp_path):
    write(tmp_path / "files", "train", 16)
    with pytest.raises(ValueError, match="lacks test.gz, which is to come from https://example"):
        prepare("tiny", tmp_path / "tfds", manual_dir=str(tmp_path / "files"))
    assert not (tmp_path / "tfds" / "tiny" / "1.0.0").exists()


def test_unknown_names_and_folders(remote, tmp_path):
    with pytest.raises(ValueError, match="Unknown data set 'tinny'"):
        prepare("tinny", tmp_path)
    with pytest.raises(ValueError, match="`manual_dir` must be a folder"):
        prepare("tiny", tmp_path, manual_dir=str(tmp_path / "nowhere"))
