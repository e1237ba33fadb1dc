"""CPU seconds of an epoch of `tfrcp.training.fit`, in those of Keras's `fit`, with the input.

python benchmarks/training_loop.py [--network=resnet20] [--pixels=32] [--images=512]
python benchmarks/training_loop.py --network=efficientnet_lite0 --pixels=224 --images=64

Images are noise in JPEG files of 5/4 of the width, decoded, cropped and augmented by the library's
own pipeline for both loops, as in training on ImageNet ("imagenet"). Both train the same network
from the same weights with the same optimizer on the same batches, one after the other in one
process; the first epoch of each, which compiles, is left out. The third row is the pipeline alone.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import common
import numpy as np


def write_images(folder: Path, count: int, pixels: int) -> None:
    """Writes JPEG files of two classes."""
    import keras

    random = np.random.default_rng(0)
    for part, size in (("train", count), ("test", 2)):
        for index in range(size):
            file = folder / part / f"class{index % 2}" / f"{index}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            image = random.integers(0, 256, (pixels * 5 // 4, pixels * 5 // 4, 3))
            keras.utils.save_img(file, image.astype("uint8"), scale=False)


def main() -> None:
    """Runs the benchmark."""
    arguments = common.plain_parser(__doc__)
    arguments.add_argument("--network", default="resnet20", help="a builder in tfrcp.models")
    arguments.add_argument("--pixels", type=int, default=32)
    arguments.add_argument("--images", type=int, default=512, help="in an epoch")
    arguments.add_argument("--batch_size", type=int, default=32)
    arguments.add_argument("--epochs", type=int, default=4, help="after the first")
    arguments = arguments.parse_args()

    import keras

    import tfrcp
    from tfrcp import training
    from tfrcp.data import load

    class Clock(keras.callbacks.Callback):
        """CPU seconds of every epoch."""

        def __init__(self) -> None:
            super().__init__()
            self.seconds: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self._start = time.process_time()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seconds.append(time.process_time() - self._start)

    def network() -> keras.Model:
        shape = (arguments.pixels, arguments.pixels, 3)
        return getattr(tfrcp.models, arguments.network)(shape, 2, seed=0)

    epochs, rate = arguments.epochs + 1, 0.01
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), 2 * arguments.images, arguments.pixels)
        splits = load(folder, holdout=0.5, image_size=arguments.pixels, stream=True)

        def batches(epoch: int) -> Any:
            return splits.train.dataset(
                arguments.batch_size, shuffle=True, augment="imagenet", seed=0, epoch=epoch
            )

        ours, keras_s, alone = Clock(), Clock(), Clock()
        recipe = training.Recipe(
            epochs=epochs,
            batch_size=arguments.batch_size,
            learning_rate=rate,
            weight_decay=0.0,
            augment="imagenet",
            batch_norm_images=0,
        )
        training.fit(network(), batches, None, recipe, callbacks=[ours], verbose=False)
        model = network()
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
        model.fit(batches(0), epochs=epochs, callbacks=[keras_s], verbose=0)
        for epoch in range(epochs):
            alone.on_epoch_begin(epoch)
            for _ in batches(0):
                pass
            alone.on_epoch_end(epoch)

    rows = {"tfrcp.training.fit": ours, "model.fit": keras_s, "input alone": alone}
    medians = {name: float(np.median(clock.seconds[1:])) for name, clock in rows.items()}
    print(f"{arguments.network}, {arguments.images} images of {arguments.pixels} pixels")
    print(f"{'':20}{'CPU s of an epoch':>20}{'of model.fit':>14}")
    for name, value in medians.items():
        print(f"{name:20}{value:20.2f}{value / medians['model.fit']:14.2f}")
    seconds = {name: clock.seconds for name, clock in rows.items()}
    name = f"training_loop_{arguments.network}_{arguments.pixels}"
    common.write(arguments, name, {"medians": medians, "seconds": seconds})


if __name__ == "__main__":
    main()
