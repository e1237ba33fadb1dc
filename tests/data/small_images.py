"""A few made-up images, alone and as a TensorFlow Datasets builder."""

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds


def keys(images):
    return [image.tobytes() for image in images]


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


def write_folder(folder, classes, seed):
    """JPEG files CLASS/NUMBER.jpg of several sizes; the later the class, the brighter."""
    rng = np.random.default_rng(seed)
    for index, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            shape = (*rng.integers(20, 40, 2), 3)
            noise = rng.integers(0, 60, shape) + 180 * index // (len(classes) - 1)
            image = tf.io.encode_jpeg(tf.constant(noise.astype("uint8")))
            (folder / name / f"{number}.jpg").write_bytes(image.numpy())
