"""Another job than classification: a U-Net that segments made shapes. A pattern for one's own.

python bin/prune.py --config=configs/segmentation_shapes.py

The configuration names two functions, here those of this file: `data` brings images and masks,
`model` a compiled network. The loss and the metrics that it is compiled with are what is trained,
searched for and reported. docs/jobs.md has recipes for other jobs.

Measured on two CPU cores with --config.train.epochs=3 --config.search.max_trials=8
--config.finetune.epochs=1, in 3 min 20 s: a mean IoU of 0.922 before and 0.920 after on the test
images, at 49.7 % of the MACs; the LiteRT file takes 0.81 times as long (95 % interval 0.80
to 0.82).
"""

from tfrcp.configs import default

CLASSES = 3  # background, square, disc


def get_config():
    """The configuration."""
    config = default.get_config()
    config.name = "segmentation_shapes"
    config.data.factory = f"{__file__}:data"
    config.model.factory = f"{__file__}:model"
    config.train = default.recipe(
        epochs=6, batch_size=32, learning_rate=0.05, warmup_epochs=1, augment=None
    )
    config.search.objective = "val_mean_io_u"
    config.search.max_trials = 30
    config.finetune = default.recipe(epochs=3, batch_size=32, learning_rate=0.02, augment=None)
    config.export.format = ("tf_saved_model", "litert", "litert_int8")
    return config


def data(images: int = 1200, size: int = 32):
    """Made images of a square and a disc with noise.

    Args:
        images: Number of images in all; a tenth selects, a fifth tests.
        size: Height and width in pixels.

    Returns:
        Maps "train", "holdout" and "test" to images float32 [N, size, size, 1] and masks uint8
        [N, size, size] of class numbers.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size]
    x = rng.normal(scale=0.6, size=(images, size, size, 1)).astype("float32")
    y = np.zeros((images, size, size), dtype="uint8")
    for image, mask in zip(x, y, strict=True):
        (top, left), side = rng.integers(0, size // 2, 2), rng.integers(size // 5, size // 2)
        mask[top : top + side, left : left + side] = 1
        (row, column), radius = rng.integers(size // 4, size, 2), rng.integers(3, size // 4)
        mask[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = 2
        image[..., 0] += np.array([0.0, 1.0, -1.0])[mask]
    first, last = images // 10, images - images // 5
    parts = {"holdout": slice(first), "train": slice(first, last), "test": slice(last, None)}
    return {name: (x[part], y[part]) for name, part in parts.items()}


def model(size: int = 32, width: int = 16):
    """A U-Net of two steps.

    Args:
        size: Height and width of the images in pixels.
        width: Channels of the first block; the next ones have twice and four times as many.

    Returns:
        `keras.Model`, compiled with its loss and with the mean IoU.
    """
    import keras
    from keras import layers

    def block(x, channels):
        for _ in range(2):
            x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
            x = layers.BatchNormalization(momentum=0.9)(x)
            x = layers.ReLU()(x)
        return x

    inputs = keras.Input((size, size, 1))
    fine = block(inputs, width)
    middle = block(layers.MaxPooling2D()(fine), 2 * width)
    coarse = block(layers.MaxPooling2D()(middle), 4 * width)
    x = layers.Concatenate()([layers.UpSampling2D()(coarse), middle])
    x = layers.Concatenate()([layers.UpSampling2D()(block(x, 2 * width)), fine])
    outputs = layers.Conv2D(CLASSES, 1)(block(x, width))
    network = keras.Model(inputs, outputs, name="unet")
    network.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.MeanIoU(CLASSES, sparse_y_pred=False, name="mean_io_u")],
    )
    return network
