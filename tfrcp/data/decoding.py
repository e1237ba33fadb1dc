"""Decodes and resizes a JPEG or PNG image, as a part of a TensorFlow graph."""

from __future__ import annotations

import tensorflow as tf

from tfrcp.data.augmentation import centre_box, random_box

_PIXELS = 2**28  # of an image; a header that tells of more is not believed
_PNG = b"\x89PNG\r\n\x1a\n"


def resized(encoded, key, size: int, channels: int, part: str = "middle"):
    """Decodes an image and resizes a part of it.

    Args:
        encoded: String tensor: JPEG or PNG.
        key: int32 [2], which the part depends on if it is random.
        size: Height and width of the result.
        channels: 1 or 3.
        part: Of the image: the square in the "middle", a "random" one, or "all" of it. Nothing
            else of a JPEG is decoded, so that damage beyond is not found.

    Returns:
        float32 [size, size, channels] from 0 to 255.
    """

    def checked(height, width):
        size = tf.cast(height, "int64") * tf.cast(width, "int64")
        return tf.debugging.assert_less(size, tf.constant(_PIXELS, "int64"), "too many pixels")

    def box_of(shape):
        if part == "all":
            return tf.concat([[0, 0], shape[:2]], axis=0)
        return random_box(shape, key) if part == "random" else centre_box(shape)

    def from_jpeg():
        # INTEGER_ACCURATE is the transform of other image libraries.
        shape = tf.io.extract_jpeg_shape(encoded)
        with tf.control_dependencies([checked(shape[0], shape[1])]):
            box = box_of(shape)
        return tf.image.decode_and_crop_jpeg(
            encoded, box, channels=channels, dct_method="INTEGER_ACCURATE"
        )

    def from_png():
        # TensorFlow's decoder takes other formats too, whose headers stand elsewhere.
        signed = tf.debugging.assert_equal(tf.strings.substr(encoded, 0, 8), _PNG, "no PNG")
        with tf.control_dependencies([signed]):
            header = tf.strings.substr(encoded, 16, 8)
        header = tf.io.decode_raw(header, "int32", little_endian=False)
        with tf.control_dependencies([checked(header[0], header[1])]):
            image = tf.io.decode_png(encoded, channels=channels)
        top, left, height, width = tf.unstack(box_of(tf.shape(image)))
        return image[top : top + height, left : left + width]

    image = tf.cond(tf.io.is_jpeg(encoded), from_jpeg, from_png)
    image = tf.image.resize(image, [size, size], antialias=True)
    return tf.ensure_shape(image, (size, size, channels))
