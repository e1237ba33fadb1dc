"""Prepares a data set for config.data.name, as TensorFlow Datasets keeps it.

tfrcp prepare-data --name=cifar10 [--data_dir=DIR]
tfrcp prepare-data --name=fashion_mnist --manual_dir=/usr/share/datasets/fashion-mnist
tfrcp prepare-data --name=imagenet2012 --manual_dir=DIR
tfrcp prepare-data --folder=IMAGES [--name=my_images] [--test_share=0.1]

The first downloads it. The second takes the files that it would download from a folder (here that
of Debian's package dataset-fashion-mnist). ImageNet cannot be downloaded by a program: its two
archives, ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, must stand in DIR. The last takes a
folder that holds one folder of JPEG or PNG images per class, or train/ and test/ with such.
"""

from __future__ import annotations

import json

from absl import flags

from tfrcp.commands import base


def run() -> None:
    """Defines the flags and runs the command."""
    flags.DEFINE_string("name", None, "Name of the data set.")
    flags.DEFINE_string("data_dir", None, "Where it is to stand. Defaults to tfds's own.")
    flags.DEFINE_string("manual_dir", None, "Folder of files that were got by hand.")
    flags.DEFINE_string("folder", None, "Folder of images to make a data set of.")
    flags.DEFINE_float("test_share", 0.1, "Of a folder without train/ and test/.")
    flags.DEFINE_integer("seed", 0, "Of that choice.")
    names = "name", "folder", "data_dir", "manual_dir", "test_share", "seed"
    base.run(_main, *names, needs_file=False)


def _main() -> None:
    """Prepares it and says where it stands."""
    if not (flags.FLAGS.folder or flags.FLAGS.name):
        raise ValueError("--name or --folder must be given; see --help")
    from tfrcp.data.prepare import prepare, prepare_folder

    if flags.FLAGS.folder:
        builder = prepare_folder(
            flags.FLAGS.folder,
            flags.FLAGS.data_dir,
            name=flags.FLAGS.name,
            test_share=flags.FLAGS.test_share,
            seed=flags.FLAGS.seed,
        )
    else:
        builder = prepare(flags.FLAGS.name, flags.FLAGS.data_dir, manual_dir=flags.FLAGS.manual_dir)
    sizes = {name: part.num_examples for name, part in builder.info.splits.items()}
    print(json.dumps({"name": builder.name, "data_dir": str(builder.data_dir), "images": sizes}))
