"""What a step of a Supernet costs: side by side with steps of the network alone, in turn.

A step trains the network as it is, its narrowest form and some random widths, all on one batch.
Random widths are drawn under no budget. Both functions are those of `fit`, with the same optimizer;
a round is one step of each, the order changes from round to round, and the ratio is the median over
the rounds, with its 95 % interval by bootstrap.

Measured (ResNet-20, 128 images of 32 pixels, two CPU cores that other programs kept busy): a step
with two random widths costs 2.61 plain steps (95 % interval 2.33 to 4.00), one with four 4.20.

python benchmarks/supernet_step.py [--network=resnet20] [--batch_size=128] [--image_size=32]
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from common import plain_parser, write


def main() -> None:
    arguments = plain_parser(__doc__)
    arguments.add_argument("--network", default="resnet20", help="a builder in tfrcp.models")
    arguments.add_argument("--batch_size", type=int, default=128)
    arguments.add_argument("--image_size", type=int, default=32)
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--random_widths", type=int, nargs="*", default=[0, 1, 2, 4])
    arguments = arguments.parse_args()

    import keras
    import tensorflow as tf

    import tfrcp

    random = np.random.default_rng(arguments.seed)
    shape = (arguments.image_size, arguments.image_size, 3)
    x = tf.constant(random.normal(size=(arguments.batch_size, *shape)), "float32")
    y = tf.constant(random.integers(0, 10, arguments.batch_size), "int32")

    def network() -> keras.Model:
        return getattr(tfrcp.models, arguments.network)(shape, 10, seed=arguments.seed)

    models: dict[str, Any] = {"plain": network()}
    for count in arguments.random_widths:
        models[f"{count} random"] = tfrcp.Supernet(
            network(), random_widths=count, seed=arguments.seed
        )
    steps = {}
    for name, model in models.items():
        model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
        start = time.perf_counter()
        step = model.make_train_function() or model.train_function
        batches = tf.data.Dataset.from_tensors((x, y)).repeat()
        steps[name] = _step(step, iter(batches))
        print(f"{name}: compiled in {time.perf_counter() - start:.1f} s", flush=True)

    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(arguments.rounds):
        for name in list(steps)[:: 1 if round_ % 2 else -1]:
            start = time.perf_counter()
            steps[name]()
            seconds[name].append(time.perf_counter() - start)

    print(f"\n{arguments.network}, {arguments.batch_size} images of {arguments.image_size} pixels")
    print(f"{'step':>10}{'median s':>12}{'plain steps':>14}{'95 % interval':>18}")
    results = {}
    for name, values in seconds.items():
        ratios = np.array(values) / np.array(seconds["plain"])
        picks = random.integers(0, len(ratios), (2000, len(ratios)))
        low, high = np.quantile(np.median(ratios[picks], axis=1), (0.025, 0.975))
        middle = float(np.median(ratios))
        results[name] = {"seconds": values, "ratio": middle, "low": low, "high": high}
        print(f"{name:>10}{np.median(values):12.3f}{middle:14.2f}{f'{low:.2f} to {high:.2f}':>18}")
    write(arguments, f"supernet_step_{arguments.network}", {"steps": results})


def _step(function: Any, batches: Any) -> Any:
    """A step that waits for its result; the first two compile it."""
    for _ in range(2):
        function(batches)
    return lambda: {name: float(value) for name, value in function(batches).items()}


if __name__ == "__main__":
    main()
