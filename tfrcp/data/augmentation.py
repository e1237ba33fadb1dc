"""Random changes of training images, each a function of the image and its own key.

So the result does not depend on how a batch is spread over devices.
"""

from __future__ import annotations

import tensorflow as tf

AUGMENTATIONS = {"cifar": (4, True), "shift": (1, False), "imagenet": None}
"""Names: "cifar" and "shift" pad an image with zeros, by as many pixels, and crop it to its old
size at random, then perhaps flip it; "imagenet" resizes a random part of it."""

AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
"""What share of an image's area, and which ratios of width to height, "imagenet" crops: Szegedy et
al., "Going deeper with convolutions" (2015, arXiv 1409.4842)."""

CENTRE = 0.875
"""Share of the shorter side that is cropped from the centre where nothing is random: 224 of 256
pixels, the convention for ImageNet."""


def check_augmentation(augment: str | None) -> None:
    """Raises a ValueError unless `augment` is known."""
    if augment is not None and augment not in AUGMENTATIONS:
        raise ValueError(
            f"`augment` must be None or one of {sorted(AUGMENTATIONS)}. Received: {augment!r}"
        )


def crop_and_flip(images, keys, augment: str):
    """Augments images of one size, all at once.

    Args:
        images: [N, height, width, channels].
        keys: int32 [N, 2], uniform and not negative.
        augment: "cifar" or "shift".
    """
    padding, flip = AUGMENTATIONS[augment]
    height, width = images.shape[1], images.shape[2]
    places = 2 * padding + 1
    rows = keys[:, :1] % places + tf.range(height)
    columns = keys[:, 1:] % places + tf.range(width)
    if flip:
        heads = keys[:, :1] // places % 2 == 0
        columns = tf.where(heads, columns[:, ::-1], columns)
    sides = [padding, padding]
    images = tf.pad(images, [[0, 0], sides, sides, [0, 0]])
    images = tf.gather(images, rows, axis=1, batch_dims=1)
    return tf.gather(images, columns, axis=2, batch_dims=1)


def flip_at_random(images, keys):
    """Mirrors half of the images [N, height, width, channels]; keys as above."""
    heads = keys[:, :1] % 2 == 0
    return tf.where(heads[:, :, None, None], images[:, :, ::-1], images)


def random_box(shape, key):
    """A part of an image by "imagenet".

    Args:
        shape: int32 [3], of the image.
        key: int32 [2].

    Returns:
        int32 [4]: top row, left column, height and width.
    """
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        tf.zeros([1, 0, 4]),
        seed=key,
        min_object_covered=0.0,
        aspect_ratio_range=ASPECT,
        area_range=AREA,
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.concat([begin[:2], size[:2]], axis=0)


def centre_box(shape):
    """The square in the middle of an image; arguments and result as for `random_box`."""
    side = tf.cast(tf.math.rint(CENTRE * tf.cast(tf.reduce_min(shape[:2]), "float32")), "int32")
    return tf.concat([(shape[:2] - side) // 2, [side, side]], axis=0)


def resize_boxes(images, boxes, size: tuple[int, int]):
    """Resizes a part of each image.

    Args:
        images: [N, height, width, channels].
        boxes: int32 [N, 4].
        size: Height and width of the result.

    Returns:
        float32 [N, *size, channels].
    """

    def part(pair):
        image, (top, left, height, width) = pair[0], tf.unstack(pair[1])
        cropped = image[top : top + height, left : left + width]
        return tf.image.resize(cropped, size, antialias=True)

    result = tf.TensorSpec((*size, images.shape[-1]), "float32")
    return tf.map_fn(part, (images, boxes), fn_output_signature=result)
