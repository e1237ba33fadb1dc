"""What cells start from: an unpruned network, its trace and what scores candidates."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import keras

from tfrcp.data import Splits
from tfrcp.data.memory import MemorySplit
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.trace import trace
from tfrcp.scoring import objectives
from tfrcp.scoring.evaluator import ProgramEvaluator
from tfrcp.search.scorer import evaluator_of
from tfrcp.space.cost import CostModel


class Network:
    """An unpruned network; everything is made when it is asked for, and once.

    Args:
        config: Nested dict; see `configs/benchmark_digits.py`.
        path: Of the network, a .keras file.
        data: The images.
        holdout: Those of them that score candidates.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        path: str | os.PathLike[str],
        data: Splits,
        holdout: MemorySplit,
    ) -> None:
        self._config, self.path, self._data, self._holdout = config, path, data, holdout

    @cached_property
    def model(self) -> keras.Model:
        """The network."""
        return keras.models.load_model(self.path, compile=False)

    @cached_property
    def graph(self) -> ChannelGraph:
        """Its trace."""
        return trace(self.model)

    @cached_property
    def cost(self) -> CostModel:
        """What it costs."""
        return CostModel(self.graph)

    @cached_property
    def evaluator(self) -> ProgramEvaluator:
        """What builds and scores pruned networks."""
        search = self._config["search"]
        calibration = None
        if search["reconstruction"] != "none":
            calibration, _ = self._data.train.arrays(search["calibration_images"])
        return evaluator_of(
            self.model,
            self.graph,
            {},
            self._holdout.arrays(),
            objectives.get(self.model, "val_accuracy"),
            calibration,
            reconstruction=search["reconstruction"],
            batch_norm_images=search["batch_norm_images"],
            batch_size=self._config["evaluate"]["batch_size"],
        )
