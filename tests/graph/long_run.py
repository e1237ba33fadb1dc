"""Hundreds of random networks, too many for the suite: what `test_random_graphs.py` does, for long.

python -m tests.graph.long_run [--graphs=500] [--first=0]

Every network has a number, so that a mismatch can be looked at alone: --graphs=1 --first=NUMBER.
Ends with status 1 if there is a mismatch.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import traceback

import numpy as np


def draw(number):
    """The recipe, network and seed of a number."""
    from tests.graph.random_graphs import NETWORKS, PIECES, RANGES

    random = np.random.default_rng([2025, number])
    names = sorted(PIECES)
    recipe = [
        (names[random.integers(len(names))], *(int(random.integers(*r)) for r in RANGES))
        for _ in range(random.integers(3, 10))
    ]
    return recipe, tuple(choices[random.integers(len(choices))] for choices in NETWORKS), number


def _examine(recipe, network, seed):
    """`examine`, eagerly where TensorFlow can: Keras compiles grouped convolutions at each call.

    In three dimensions, and with channels first, TensorFlow has none that is not compiled.
    """
    import tensorflow as tf

    from tests.graph.random_graphs import examine

    try:
        tf.config.run_functions_eagerly(True)
        return examine(recipe, network, seed, choices=1)
    except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError):
        tf.config.run_functions_eagerly(False)
        return examine(recipe, network, seed, choices=1)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--graphs", type=int, default=500, help="number of networks")
    arguments.add_argument("--first", type=int, default=0, help="number of the first")
    arguments = arguments.parse_args()

    import keras

    import tests.graph.random_graphs  # noqa: F401  all that is to be imported, before the freeze

    gc.freeze()  # a tenth of the time is otherwise spent on looking through TensorFlow's objects
    gc.set_threshold(50_000)
    start, wrong, channels = time.perf_counter(), [], 0
    for number in range(arguments.first, arguments.first + arguments.graphs):
        recipe, network, seed = draw(number)
        try:
            channels += _examine(recipe, network, seed)
        except Exception:
            wrong.append(number)
            print(f"\nnetwork {number}: {network} {recipe}")
            traceback.print_exc(limit=-3, file=sys.stdout)
        keras.backend.clear_session()
        if number % 10 == 9:
            done = number + 1 - arguments.first
            print(f"{done} networks, {len(wrong)} wrong", end="\r", flush=True)
    seconds = time.perf_counter() - start
    print(f"{arguments.graphs} networks with {channels} prunable channels, {seconds:.0f} s")
    print(f"{len(wrong)} wrong: {wrong}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
