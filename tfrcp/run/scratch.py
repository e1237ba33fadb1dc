"""Pruning from scratch: train a supernet, search, train the winner, evaluate, export, report."""

from __future__ import annotations

import os
from typing import Any

import keras
import tensorflow as tf

from tfrcp import training
from tfrcp.arguments import check_int
from tfrcp.deployment.bundle import kinds
from tfrcp.graph.trace import trace
from tfrcp.run import inputs
from tfrcp.run.checks import builder, check
from tfrcp.run.comparing import compare, export
from tfrcp.run.context import Run
from tfrcp.run.searching import SEARCHED, record, search
from tfrcp.search.architecture import ArchitectureSpec
from tfrcp.space.cost import CostModel
from tfrcp.space.space import SearchSpace
from tfrcp.training.backup import History
from tfrcp.training.scratch import check_recipe

_SUPERNET, _ORIGINAL, _TRAINED = "supernet.keras", "original.keras", "trained.keras"
_SPACE = ("min_ratio", "max_ratio", "divisor", "fixed", "tied")


class ScratchPipeline(Run):
    """The whole job from random weights to an exported network.

    The supernet is the network that the configuration names, with the largest widths of the space:
    those of `config.search.max_ratio`, which may be above 1. Budget, costs and shares of channels
    are those of the network itself, here called the original one, which is never trained.

    Raises:
        ValueError: If a part of the configuration is wrong, with what would do.
    """

    stages = ("supernet", "search", "train", "evaluate", "export")

    def __init__(self, config: dict[str, Any], workdir: str | os.PathLike[str]) -> None:
        _check(config)
        super().__init__(config, workdir)
        self.check_alone()
        self.recipes["supernet"] = _recipe(config["supernet"])
        try:
            check_recipe(self.recipes["supernet"], self.strategy)
        except ValueError as error:
            raise ValueError(f"`config.supernet`: {error}") from None
        reach = inputs.space(self.cost.graph, config["search"], from_scratch=True)
        self._widest = reach.largest.tolist()
        graph = trace(self._build(self._widest))
        self._ratios = {
            group.name: float(least / group.size)
            for group, least in zip(graph.prunable, reach.smallest, strict=True)
        }
        self.space = self._space(graph)
        wide = CostModel(graph)
        self._target = self.budget.absolute(self.cost.full._asdict(), wide.full._asdict())
        inputs.check_budget(config, self.space, wide, self._target)
        if self.is_worker:
            return  # The chief keeps the working folder.
        self.describe(
            self.space.smallest,
            scratch={
                "random_widths": config["supernet"]["random_widths"],
                "inherit": config["inherit"],
                "supernet_flops": wide.full.flops,
            },
        )

    def scratch(self) -> None:
        """All stages, and the report."""
        self.run()

    def supernet(self) -> None:
        """Makes `supernet.keras`: the network with its largest widths, trained at all widths."""
        options, recipe = self.config["supernet"], self.recipes["supernet"]
        seed = self.config["seed"]

        def batches(epoch: int) -> tf.data.Dataset:
            return self.data.train.dataset(
                recipe.batch_size, shuffle=True, augment=recipe.augment, seed=seed, epoch=epoch
            )

        def train() -> tuple[keras.Model, History]:
            model = self._build(self._widest)
            with self.backing_up("supernet") as folder:
                return model, training.fit_supernet(
                    model,
                    self.space,
                    batches,
                    recipe,
                    budget=self._target if options["under_budget"] else None,
                    random_widths=options["random_widths"],
                    seed=seed,
                    strategy=self.strategy,
                    backup_dir=folder,
                )

        self.train_once("supernet", _SUPERNET, "supernet", train)

    def search(self) -> None:
        """Makes `channels.json` and `pruned.keras`: the best candidate, with inherited weights.

        As a worker (see `tfrcp.search.distributed`) it scores candidates for the chief, who does.
        """
        if self.is_worker:
            self._search(self.load(_SUPERNET, "supernet"))
            return
        with self.stage("search", "channels.json", SEARCHED) as needed:
            if needed:
                model = self.load(_SUPERNET, "supernet")
                record(self, self._search(model), self.cost, model)

    def train(self) -> None:
        """Makes `trained.keras`: the winner, trained from random or from inherited weights."""

        def train() -> tuple[keras.Model, History]:
            if self.config["inherit"]:
                model = self.load(SEARCHED, "search")
            else:
                found = ArchitectureSpec.read(self.workdir / "channels.json")
                model = self._build(list(found.content["channels"].values()))
            return model, self.fit(model, "train", "winner")

        self.train_once("train", _TRAINED, "winner", train)

    def evaluate(self) -> None:
        """Accuracy on the test split; costs and time per image, beside the original network's."""
        with self.stage("evaluate") as needed:
            if needed:
                self.workdir.save_model(_ORIGINAL, self.model)
                files = {"before": (_ORIGINAL, "evaluate"), "after": (_TRAINED, "train")}
                compare(self, files, trained=("after",))

    def export(self) -> None:
        """Makes the files in `export/`, whose answers are compared with the network's."""
        files = [f"export/{kind.file}" for kind in kinds(self.config["export"]["format"]).values()]
        with self.stage("export", *files) as needed:
            if needed:
                after = self.load(_TRAINED, "train")
                export(self, self.model, after, trained=("after",))

    def parts(self, name: str) -> dict[str, Any]:
        """The part of the configuration that the result of a stage depends on."""
        parts = super().parts(name)
        parts["space"] = {field: self.config["search"][field] for field in _SPACE}
        if self.config["supernet"]["under_budget"]:
            parts["space"] |= {key: self.config["search"][key] for key in ("flops", "tolerance")}
        if "train" in parts:
            parts["inherit"] = self.config["inherit"]
        return parts

    def _build(self, channels: list[int]) -> keras.Model:
        """The network with these channels, untrained."""
        return builder(self.config)(
            self.data.input_shape,
            self.data.classes,
            channels,
            seed=self.config["seed"],
            **self.config["model"]["options"],
        )

    def _space(self, graph: Any) -> SearchSpace:
        """The space as one of the supernet, whose own widths are the largest."""
        narrowest = {"min_ratio": self._ratios, "max_ratio": 1.0}
        return inputs.space(graph, {**self.config["search"], **narrowest})

    def _search(self, model: keras.Model) -> Any:
        """Scores the candidates, or as a worker some of them."""
        options = {**self.config["search"], "min_ratio": self._ratios, "max_ratio": 1.0}
        return search(self, model, self._target, options)


def _check(config: dict[str, Any]) -> None:
    """Refuses what pruning from scratch would stumble over."""
    check(config)
    if config["model"]["base"]:
        raise ValueError(
            "`config.model.base` must be empty: nothing trained is pruned here. bin/prune.py does "
            f"that. Received: {config['model']['base']!r}"
        )
    if config["search"]["latency"] is not None:
        raise ValueError(
            "`config.search.latency` must be left out: times of the original network say little "
            f"of the supernet's. Received: {config['search']['latency']}"
        )
    if config["search"]["stages"] != 1:
        raise ValueError(
            "`config.search.stages` must be 1: a supernet is searched once. Received: "
            f"{config['search']['stages']}"
        )
    check_int("config.supernet.random_widths", config["supernet"]["random_widths"], 0)
    _recipe(config["supernet"])


def _recipe(options: dict[str, Any]) -> training.Recipe:
    """The recipe among the options of a supernet."""
    own = ("random_widths", "under_budget")
    return training.Recipe(**{key: value for key, value in options.items() if key not in own})
