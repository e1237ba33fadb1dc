"""Searches with a criterion of one's own: any function that gives every channel a score.

python examples/own_criterion.py
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is imported: many small solves

import keras
import numpy as np

import tfrcp


def largest_weight(model, graph, data=None):
    """The largest absolute weight that makes a channel.

    Args:
        model: The `keras.Model`.
        graph: Its trace.
        data: Training data, as given to `search`; not looked at here.

    Returns:
        Dict from group name to float array [size]; higher is kept.
    """
    scores = {}
    for group in graph.prunable:
        scores[group.name] = np.zeros(group.size)
        for piece in group.slices:  # where the group's channels live
            if piece.role == "output" and piece.weight == "kernel":
                kernel = np.abs(model.get_layer(piece.layer).kernel)
                others = tuple(axis for axis in range(kernel.ndim) if axis != piece.axis)
                ours = piece.channel_of >= 0
                np.maximum.at(
                    scores[group.name], piece.channel_of[ours], kernel.max(axis=others)[ours]
                )
    return scores


def main(
    directory: str = "runs/own_criterion", max_trials: int = 10, images: int | None = None
) -> None:
    """Trains a small network on scikit-learn's digits for a moment and prunes it to half."""
    data = tfrcp.data.load("digits", holdout=0.2)
    train, holdout = data.train.arrays(images), data.holdout.arrays()
    model = tfrcp.models.resnet20(input_shape=data.input_shape, classes=data.classes)
    model.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    model.fit(*train, epochs=3, batch_size=64, verbose=2)

    tuner = tfrcp.RandomChannelSearch(
        model, flops=0.5, criterion=largest_weight, max_trials=max_trials, directory=directory
    )
    tuner.search(*train, validation_data=holdout)
    tuner.results_summary(1)
    pruned = tuner.get_best_models()[0]
    print(f"{model.count_params():,} weights -> {pruned.count_params():,}")


if __name__ == "__main__":
    main()
