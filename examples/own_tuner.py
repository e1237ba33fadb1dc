"""Searches an architecture with a keras-tuner tuner of one's own: every candidate is trained.

The oracle proposes channel counts that meet the budget, and none twice. The hypermodel builds the
network with them. `DistributedTuner` is a `keras_tuner.Tuner` whose workers may be killed; without
several processes, any `keras_tuner.Tuner` will do.

python examples/own_tuner.py
"""

import keras

import tfrcp
from tfrcp.search.distributed import DistributedTuner


class Train(DistributedTuner):
    """Trains each candidate and reports its history. (The stock one needs tensorboard.)"""

    def run_trial(self, trial, *args, **kwargs):
        keras.utils.set_random_seed(0)  # all candidates alike
        return self.hypermodel.build(trial.hyperparameters).fit(*args, **kwargs)


def main(directory: str = "runs/own_tuner", max_trials: int = 5, images: int | None = None) -> None:
    """Searches ResNet-20 at half its MACs on scikit-learn's digits."""
    data = tfrcp.data.load("digits", holdout=0.2)
    options = {"input_shape": data.input_shape, "classes": data.classes}
    graph = tfrcp.trace(tfrcp.models.resnet20(**options))
    cost = tfrcp.CostModel(graph)
    space = tfrcp.SearchSpace(graph, min_ratio=0.25, divisor=4)
    print(space.summary(cost), end="\n\n")

    def build(hp):  # one Int hyperparameter for each group, named as the group
        channels = [hp.get(group.name) for group in graph.prunable]
        model = tfrcp.models.resnet20(**options, channels=channels)
        model.compile(
            keras.optimizers.Adam(hp.Float("learning_rate", 1e-4, 1e-1, default=2e-3)),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        return model

    oracle = tfrcp.EvolutionaryChannelOracle(
        space, cost, tfrcp.Budget(flops=0.5, tolerance=0.02), "val_accuracy", max_trials
    )
    tuner = Train(oracle, build, directory=directory, project_name="resnet20")
    tuner.search(
        *data.train.arrays(images),
        validation_data=data.holdout.arrays(images),
        epochs=3,
        batch_size=64,
        verbose=0,
    )
    tuner.results_summary(1)
    best = tuner.get_best_hyperparameters()[0]
    flops = cost([best.get(group.name) for group in graph.prunable]).flops[0]
    print(f"{flops:,} of {cost.full.flops:,} MACs")


if __name__ == "__main__":
    main()
