"""Folders with images that are none."""

from __future__ import annotations

import os
import shutil

import numpy as np

from tests.attacks.damages import DAMAGES, generator
from tests.attacks.tally import require
from tests.data.small_images import write_folder
from tests.data.test_bad_images import GIF, png_of
from tfrcp import data


def _other(content):
    return lambda path, random: path.write_bytes(content)


def _dangling(path, random):
    path.unlink()
    path.symlink_to(path.with_name("gone"))


def _folder(path, random):
    path.unlink()
    path.mkdir()


def _loop(path, random):
    path.unlink()
    path.symlink_to(path)


def _pipe(path, random):
    path.unlink()
    os.mkfifo(path)


def _device(path, random):
    path.unlink()
    path.symlink_to("/dev/zero")


def _tail(path, random):
    """The last rows are missing."""
    os.truncate(path, path.stat().st_size - int(random.integers(2, 40)))


BREAKS = (
    *(*DAMAGES, _tail, _dangling, _folder, _loop, _pipe, _device),
    *map(_other, (b"no image", GIF, b"\xff\xd8\xff\xe0", png_of(2**30, 2**30), png_of(0, 0))),
    _other(b"BM" + b"\xff" * 60),
)


def folders(tally, seed, folder):
    """Some files of a folder are broken; it is read whole and streamed, refused and skipped."""
    sound = folder / "sound"
    write_folder(sound / "train", {"ants": 6, "bees": 6}, seed=0)
    write_folder(sound / "test", {"ants": 3, "bees": 3}, seed=1)
    for number in tally:
        random, place = generator(seed, number), folder / f"images{number}"
        shutil.copytree(sound, place)
        paths = sorted(place.rglob("*.jpg"))
        broken = random.choice(len(paths), size=random.integers(1, 7), replace=False)
        chosen = [BREAKS[random.integers(len(BREAKS))] for _ in broken]
        for index, breaks in zip(broken, chosen, strict=True):
            breaks(paths[index], random)
        options = {"stream": bool(random.integers(2)), "on_error": ("raise", "skip")[number % 2]}

        def read(place=place, options=options):
            splits = data.load(str(place), image_size=8, **options)
            for split in (splits.train, splits.holdout, splits.test):
                x, y = split.arrays()[:2]
                require(np.isfinite(x).all() and len(x) == len(y), "numbers that are none")

        tally.count(f"seed {seed}, folder {number}, {options}", read)
        shutil.rmtree(place)
