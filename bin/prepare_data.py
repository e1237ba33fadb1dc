"""Prepares a data set for config.data.name, as TensorFlow Datasets keeps it.

python bin/prepare_data.py --name=cifar10 [--data_dir=DIR]
python bin/prepare_data.py --name=fashion_mnist --manual_dir=/usr/share/datasets/fashion-mnist
python bin/prepare_data.py --name=imagenet2012 --manual_dir=DIR
python bin/prepare_data.py --folder=IMAGES [--name=my_images] [--test_share=0.1]

The first downloads it. The second takes the files that it would download from a folder (here that
of Debian's package dataset-fashion-mnist). ImageNet cannot be downloaded by a program: its two
archives, ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, must stand in DIR. The last takes a
folder that holds one folder of JPEG or PNG images per class, or train/ and test/ with such.
"""

import json

import common
from absl import flags

_NAME = flags.DEFINE_string("name", None, "Name of the data set.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where it is to stand. Defaults to tfds's own.")
_MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "Folder of files that were got by hand.")
_FOLDER = flags.DEFINE_string("folder", None, "Folder of images to make a data set of.")
_TEST_SHARE = flags.DEFINE_float("test_share", 0.1, "Of a folder without train/ and test/.")
_SEED = flags.DEFINE_integer("seed", 0, "Of that choice.")


def main() -> None:
    """Prepares it and says where it stands."""
    from tfrcp.data.prepare import prepare, prepare_folder

    if _FOLDER.value:
        builder = prepare_folder(
            _FOLDER.value,
            _DATA_DIR.value,
            name=_NAME.value,
            test_share=_TEST_SHARE.value,
            seed=_SEED.value,
        )
    elif _NAME.value:
        builder = prepare(_NAME.value, _DATA_DIR.value, manual_dir=_MANUAL_DIR.value)
    else:
        raise ValueError("--name or --folder must be given; --help tells more")
    sizes = {name: part.num_examples for name, part in builder.info.splits.items()}
    print(json.dumps({"name": builder.name, "data_dir": str(builder.data_dir), "images": sizes}))


if __name__ == "__main__":
    names = "name", "folder", "data_dir", "manual_dir", "test_share", "seed"
    common.run(main, *names, needs_file=False)
