"""The work behind the cells: scores channels, allocates them, fine-tunes and tests.

The protocol is enforced here: one base for all; the same images calibrate, select and test; every
network inherits, is reconstructed and fine-tuned in the same way and sees the images in an order
that the seed alone decides. Criteria and allocations see training and holdout images; the test
images are looked at in cells alone, which choose nothing. Batch-norm statistics are re-estimated
before every test, whatever the length of the fine-tuning.
"""

from __future__ import annotations

import dataclasses
import gc
import math
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfrcp import allocation, criteria, training
from tfrcp.data import Splits
from tfrcp.data.memory import MemorySplit
from tfrcp.reconstruction import recalibrate_batch_norm
from tfrcp.run import inputs
from tfrcp.space.budget import Budget
from tfrcp.space.space import SearchSpace
from tfrcp.studies.allocations import Step, check
from tfrcp.studies.functions import Named, as_lists
from tfrcp.studies.network import Network
from tfrcp.studies.preparations import prepare
from tfrcp.studies.protocol import Counted, batches, drawn, first, recipe

Result = dict[str, Any]


class Experiment:
    """Does the work of a benchmark's cells.

    Args:
        config: Nested dict; see `configs/benchmark_digits.py`.
        base: Path of the base, a .keras file.
        data: The images.
    """

    def __init__(self, config: Mapping[str, Any], base: str, data: Splits) -> None:
        self._config, self._base, self._data = config, Path(base), data
        self._options = config["benchmark"]
        self._recipe = recipe(config)
        self._networks: dict[str, Network] = {}

    def _network(self, preparation: str = "") -> Network:
        """The base, or what a preparation made of it."""
        path = self._base.with_stem(preparation) if preparation else self._base
        if preparation not in self._networks:
            self._networks[preparation] = Network(self._config, path, self._data, self._holdout)
        return self._networks[preparation]

    @cached_property
    def _train(self) -> MemorySplit:
        """The training images that fine-tune."""
        return first(self._data.train, self._options["finetune_images"])

    @cached_property
    def _holdout(self) -> MemorySplit:
        """The holdout images that score candidates and choose the learning rate."""
        return first(self._data.holdout, self._options["score_images"])

    @cached_property
    def _test(self) -> MemorySplit:
        """The images that a cell is tested on, at its end."""
        return first(self._data.test, self._options["test_images"])

    @cached_property
    def _untrained_test(self) -> MemorySplit:
        """Test images for networks before fine-tuning: as many as score candidates."""
        return first(self._test, min(self._holdout.size, self._test.size))

    def base(self) -> Result:
        """Accuracies and costs of the unpruned network."""
        base = self._network()
        full = base.cost.full
        return {
            "holdout_accuracy": self._accuracy(base.model, self._holdout),
            "test_accuracy": self._accuracy(base.model, self._test),
            "flops": full.flops,
            "params": full.params,
            "groups": {group.name: group.size for group in base.graph.prunable},
        }

    def prepare(self, preparation: str) -> Result:
        """Trains the base on, as a method has it, and saves it beside the base.

        Args:
            preparation: One of `tfrcp.studies.preparations.PREPARATIONS`.

        Returns:
            Dict with its `test_accuracy`, `passes`, images that went through a network for it, and
            `seconds`.
        """
        options, base = self._options["preparation"], self._network()
        space, budget = self._space_and_budget(base, min(self._options["flops"]))
        model = keras.models.load_model(self._base, compile=False)
        recipe = dataclasses.replace(
            self._recipe,
            epochs=options["epochs"],
            learning_rate=options["learning_rate"],
            sparsity_strength=options["strength"],
        )
        start = time.perf_counter()
        uniform = allocation.get("uniform")(base.graph, {}, space, base.cost, budget)
        rounds = prepare(
            preparation,
            model,
            base.graph,
            batches(self._train, recipe, 0),
            recipe,
            uniform,
            space,
            budget,
        )
        model.save(self._base.with_stem(preparation))
        return {
            "test_accuracy": self._accuracy(model, self._test),
            "passes": rounds * self._train.size,
            "seconds": time.perf_counter() - start,
        }

    def score_channels(self, criterion: Named, seed: int | None) -> Result:
        """Scores all channels.

        Args:
            criterion: What scores.
            seed: Seed of random scores; `None` for criteria that have none.

        Returns:
            Dict with `scores`, lists by group name; `images`, how many the criterion read;
            `passes`, images that went through the network for it; and `seconds`.

        Raises:
            ValueError: If the scores are not those of all channels, or not finite.
        """
        instance = criterion.call() if isinstance(criterion.call, type) else criterion.call
        if isinstance(instance, criteria.Random):
            instance = criteria.Random(self._draws(seed or 0))
        data = Counted(*self._data.train.arrays())
        network = self._network(criterion.preparation)
        start = time.perf_counter()
        found = instance(network.model, network.graph, data)
        seconds = time.perf_counter() - start
        passes = data.images
        if isinstance(instance, criteria.KLDivergence):
            passes *= 1 + int(network.graph.full.sum())  # one for each channel
        return {
            "criterion": criterion.name,
            "preparation": criterion.preparation,
            "scores": as_lists(found, network.graph),
            "images": data.images,
            "passes": passes,
            "seconds": seconds,
        }

    def allocate(
        self, method: Named, scored: Result, flops: float, samples: int, seed: int
    ) -> Result:
        """Chooses channel counts.

        Args:
            method: What chooses.
            scored: What `score_channels` gave.
            flops: Target of the MACs, as a share.
            samples: Networks that a search scores.
            seed: Seed.

        Returns:
            Dict with `channels`, a list; `score`, the accuracy before fine-tuning; `scores`, those
            of all networks that were scored, in their order; `flops` and `params` as shares of the
            unpruned ones; `candidates`, how many were scored; `passes`, images that went through a
            network for it; and `seconds`.

        Raises:
            ValueError: If the vector is not allowed or does not meet the budget.
        """
        network = self._network(scored.get("preparation", ""))
        space, budget = self._space_and_budget(network, flops)
        scores = {name: np.array(score) for name, score in scored["scores"].items()}
        evaluator, known = network.evaluator, {}
        evaluator.scores = scores
        images = 0

        def score(channels: np.ndarray) -> float:
            nonlocal images
            found = evaluator.score(channels)
            images += found.images + evaluator.batch_norm_images
            return found.value

        def counted(channels: np.ndarray) -> float:
            vector = np.asarray(channels, dtype="int64")
            known.setdefault(vector.tobytes(), (vector, score(vector)))
            return known[vector.tobytes()][1]

        criterion = scored.get("criterion", "")
        own = self._draws(seed)
        step = Step(space, network.cost, budget, scores, counted, samples, own, criterion)
        start = time.perf_counter()
        vector = np.asarray(method.call(step))
        seconds, passes = time.perf_counter() - start, images
        check(vector, step)
        costs, full = network.cost(vector), network.cost.full
        found = [value for _, value in known.values()]
        return {
            "channels": vector.tolist(),
            "score": counted(vector),  # where the method has not scored it, it is not its cost
            "scores": found,
            "flops": int(costs.flops[0]) / full.flops,
            "params": int(costs.params[0]) / full.params,
            "candidates": len(found),
            "passes": passes,
            "seconds": seconds,
        }

    def finetune(
        self,
        allocated: Result,
        scored: Result,
        epochs: float,
        learning_rate: float,
        seed: int,
        *,
        test: bool,
    ) -> Result:
        """Fine-tunes the network that was chosen.

        Args:
            allocated: What `allocate` gave.
            scored: What `score_channels` gave.
            epochs: Passes over the images that fine-tune; below 1 that share of them, once.
            learning_rate: Of its start.
            seed: Seed of the order and augmentation of the images.
            test: Whether to look at the test images.

        Returns:
            Dict with `holdout_accuracy`; where `test`, `test_accuracy` and, of the network that
            inherits and is reconstructed but not trained, `before_accuracy` on as many test images
            as score candidates; `finetune_images` that were seen; and `seconds` of fine-tuning.
        """
        evaluator = self._network(scored.get("preparation", "")).evaluator
        evaluator.scores = {name: np.array(score) for name, score in scored["scores"].items()}
        model = evaluator.build(np.array(allocated["channels"], dtype="int64"))
        before = self._accuracy(model, self._untrained_test) if test else math.nan
        train = drawn(self._train, epochs, seed) if epochs else self._train
        recipe = dataclasses.replace(
            self._recipe, epochs=math.ceil(epochs), learning_rate=learning_rate, batch_norm_images=0
        )

        start = time.perf_counter()
        training.fit(model, batches(train, recipe, seed), None, recipe, verbose=False)
        seconds = time.perf_counter() - start
        if epochs and self._recipe.batch_norm_images:
            count = min(self._recipe.batch_norm_images, self._train.size)
            recalibrate_batch_norm(model, self._train.arrays(count)[0])
        result = {
            "holdout_accuracy": self._accuracy(model, self._holdout),
            "finetune_images": recipe.epochs * train.size,
            "seconds": seconds,
        }
        if test:
            result["before_accuracy"] = before
            result["test_accuracy"] = self._accuracy(model, self._test)
        del model
        gc.collect()  # Compiled steps refer to themselves.
        return result

    def _space_and_budget(self, network: Network, flops: float) -> tuple[SearchSpace, Budget]:
        search = self._config["search"]
        budget = dataclasses.replace(inputs.budget(search), flops=flops, latency=None)
        return inputs.space(network.graph, search), budget

    def _draws(self, seed: int) -> int:
        """The seed of what is drawn, of every base another one."""
        return seed + 1000 * self._config["seed"]

    def _accuracy(self, model: keras.Model, split: MemorySplit) -> float:
        """Accuracy on the images; nothing is compiled for a model that is used once."""
        images, labels = split.arrays()
        size = self._config["evaluate"]["batch_size"]
        right = 0
        for start in range(0, len(labels), size):
            part = slice(start, start + size)
            outputs = keras.ops.convert_to_numpy(model(images[part], training=False))
            right += int((outputs.argmax(axis=1) == labels[part]).sum())
        return right / len(labels)
