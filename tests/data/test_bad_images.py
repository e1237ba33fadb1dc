"""Folders as they are found: broken files, other formats, links, odd names."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
import tensorflow as tf

from tests.data.small_images import write_folder
from tfrcp import data, files


def chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png_of(width, height):
    """A PNG whose header tells of a size, and which holds nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01"
    b"\x00\x00\x02\x02D\x01\x00;"
)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:40])


def emptied(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("no image")


def dangling(path):
    path.unlink()
    path.symlink_to(path.with_name("gone"))


def huge(path):
    path.write_bytes(png_of(2**30, 2**30))


def large(path):
    path.write_bytes(png_of(60_000, 60_000))


def tail_lost(path):
    """The last rows are missing, which are not in the middle."""
    noise = np.random.default_rng(0).integers(0, 256, (400, 40, 3), "uint8")
    content = tf.io.encode_jpeg(tf.constant(noise)).numpy()
    path.write_bytes(content[: len(content) * 3 // 4])


SELDOM = [pytest.param(breaks, marks=pytest.mark.nightly) for breaks in (emptied, text, large)]


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path / "train", {"ants": 6, "bees": 6}, seed=0)
    write_folder(tmp_path / "test", {"ants": 3, "bees": 3}, seed=1)
    return tmp_path


def test_damage_beyond_the_middle_is_found_before_it_is_met(folder, capsys):
    tail_lost(folder / "train" / "bees" / "1.jpg")
    assert data.load(str(folder), image_size=8).classes == 2  # the middle is read, once
    capsys.readouterr()
    splits = data.load(str(folder), image_size=8, stream=True, on_error="skip")
    assert splits.train.size + splits.holdout.size == 11
    assert "data: 1 of 12 images cannot be read and are skipped: " in capsys.readouterr().out


@pytest.mark.parametrize("breaks", [cut_short, dangling, huge, *SELDOM])
def test_a_broken_image_is_named_or_skipped(folder, breaks, capsys):
    breaks(folder / "train" / "bees" / "1.jpg")
    with pytest.raises(ValueError, match="bees/1.jpg is .*on_error=skip") as error:
        data.load(str(folder), image_size=8)
    assert "\n" not in str(error.value)
    capsys.readouterr()
    for stream in (False, True):
        splits = data.load(str(folder), image_size=8, stream=stream, on_error="skip")
        assert splits.classes == 2 and splits.train.size + splits.holdout.size == 11
        assert np.isfinite(splits.train.arrays()[0]).all()
        out = capsys.readouterr().out
        assert "data: 1 of 12 images cannot be read and are skipped: " in out and "1.jpg" in out


def test_several_are_counted(folder):
    for name in "123":
        cut_short(folder / "train" / "bees" / f"{name}.jpg")
    with pytest.raises(ValueError, match=r"bees/1.jpg is not .* \(and 2 more\)"):
        data.load(str(folder), image_size=8)


def test_a_class_of_which_nothing_is_left(folder):
    for path in (folder / "train" / "bees").iterdir():
        text(path)
    with pytest.raises(ValueError, match="No image of the class of .*bees.* can be read"):
        data.load(str(folder), image_size=8, on_error="skip")


def test_other_formats_are_counted_in_a_line(folder, capsys):
    before = data.load(str(folder), image_size=8)
    assert capsys.readouterr().out == ""
    for name in ("a.webp", "b.WEBP", "c.gif", "Thumbs"):
        (folder / "train" / "ants" / name).write_bytes(b"x")
    (folder / "train" / "ants" / ".DS_Store").write_bytes(b"x")
    (folder / "train" / "wasps").mkdir()
    (folder / "train" / "wasps" / "only.tiff").write_bytes(b"x")  # no class
    (folder / "train" / "bees" / "x.jpg").mkdir()  # no image
    os.mkfifo(folder / "train" / "bees" / "y.jpg")
    (folder / "train" / "bees" / "z.jpg").symlink_to("/dev/zero")
    after = data.load(str(folder), image_size=8)
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "data: 5 files in " in out and "2 .webp" in out
    assert (after.classes, after.train.size) == (before.classes, before.train.size)


def test_a_file_is_read_by_its_content(folder):
    """An image whose name tells of another format is read, a GIF is refused by its name."""
    image = tf.constant(np.full((9, 9, 3), 90, "uint8"))
    (folder / "train" / "ants" / "1.jpg").write_bytes(tf.io.encode_png(image).numpy())
    (folder / "train" / "ants" / "2.png").write_bytes(tf.io.encode_jpeg(image).numpy())
    assert data.load(str(folder), image_size=8).train.size > 0
    (folder / "train" / "ants" / "3.jpg").write_bytes(GIF)
    with pytest.raises(ValueError, match="ants/3.jpg is not a readable JPEG or PNG"):
        data.load(str(folder), image_size=8)


def test_odd_names(folder):
    names = ("with space.jpg", "über%20.jpg", "new\nline.JPEG", "-x.jpg")
    source = (folder / "train" / "ants" / "1.jpg").read_bytes()
    for name in names:
        (folder / "train" / "ants" / name).write_bytes(source)
    for stream in (False, True):
        splits = data.load(str(folder), image_size=8, stream=stream)
        assert splits.train.size + splits.holdout.size == 12 + len(names)
        splits.train.arrays()


def test_what_on_error_may_be(folder):
    with pytest.raises(ValueError, match="`on_error` must be one of .*'raise', 'skip'.*'ignore'"):
        data.load(str(folder), image_size=8, on_error="ignore")
    with pytest.raises(ValueError, match="is for folders of images"):
        data.load("cifar10", on_error="skip")
    with pytest.raises(ValueError, match="is for folders of images"):
        data.load("digits", on_error="skip")


# Archives of arrays.


def npy_header(shape):
    text = str({"descr": "|u1", "fortran_order": False, "shape": shape}).encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def test_an_array_whose_header_tells_of_400_gb_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", npy_header((400 * 10**9,)) + b"0" * 10)
    with pytest.raises(ValueError, match="data.npz.*400,000,000,000 bytes, and holds 10"):
        files.read_npz(path)


@pytest.mark.parametrize("place", range(0, 100, 9))
def test_a_damaged_archive_is_one_error(tmp_path, place):
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x=np.arange(400), y=np.ones((3, 4)))
    content = bytearray(path.read_bytes())
    content[len(content) * place // 100] ^= 0xFF
    path.write_bytes(content)
    try:
        found = files.read_npz(path)
    except ValueError as error:
        assert "data.npz" in str(error)
    else:  # the byte meant nothing, such as one of a date
        assert found["x"].tolist() == list(range(400)) and found["y"].sum() == 12


def test_a_stream_names_the_file_that_it_cannot_read(folder):
    path = sorted((folder / "train").rglob("*.jpg"))[1]
    cut_short(path)
    splits = data.load(str(folder), image_size=8, stream=True)
    with pytest.raises(ValueError, match=path.name):
        for split in (splits.train, splits.holdout):
            split.arrays()
