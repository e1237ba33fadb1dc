"""Pruning a trained network: train (or load), search, fine-tune, evaluate, export, report."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

import keras

from tfrcp.deployment.bundle import kinds
from tfrcp.deployment.latency_model import LatencyModel
from tfrcp.graph.trace import trace
from tfrcp.run import inputs
from tfrcp.run.checks import check
from tfrcp.run.comparing import compare, export
from tfrcp.run.context import BASE, Run
from tfrcp.run.searching import SEARCHED, record, search
from tfrcp.search.tuner import ChannelSearch
from tfrcp.search.winner import best_model
from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel, Costs
from tfrcp.training.backup import History

_AFTER = "finetuned.keras"


class Pipeline(Run):
    """The whole job, or one stage of it.

    Everything that can be wrong with the configuration is found here, before any long work.

    Raises:
        ValueError: If a part of the configuration is wrong, with what would do.
    """

    stages = ("train", "search", "finetune", "evaluate", "export")

    def __init__(self, config: dict[str, Any], workdir: str | os.PathLike[str]) -> None:
        check(config)
        super().__init__(config, workdir)
        options = config["search"]
        space = inputs.space(self.cost.graph, options)
        if options["latency"] is None or not self.workdir.is_complete(
            "search", self.parts("search")
        ):
            inputs.check_budget(config, space, self.cost, self.budget, self._latency_model)
        if not self.is_worker:  # The chief keeps the working folder.
            self.describe(space.smallest)

    @cached_property
    def _latency_model(self) -> LatencyModel | None:
        """What tells the time of candidates, where it is bounded; measures for some minutes."""
        options = self.config["search"]
        if options["latency"] is None:
            return None
        return LatencyModel(
            self.model,
            self.cost.graph,
            format=options["latency_format"],
            batch_size=self.config["evaluate"]["latency_batch_size"],
            divisor=options["divisor"],
        )

    def prune(self) -> None:
        """All stages, and the report."""
        self.run()

    def train(self) -> None:
        """Makes `base.keras`: trains the network, or takes the given one."""
        self.train_once(
            "train", BASE, "base", lambda: (self.model, self.fit(self.model, "train", "base"))
        )

    def search(self) -> None:
        """Makes `channels.json` and `pruned.keras`, the best of the candidates.

        As a worker (see `tfrcp.search.distributed`) it scores candidates for the chief, who does.
        """
        self.check_alone()
        if self.is_worker:
            with self.naming_images():
                self._search(self.load(BASE, "train"))
            return
        with self.stage("search", "channels.json", SEARCHED) as needed:
            if needed:
                tuner = self._search(self._partly_pruned())
                record(self, tuner, self.cost, self.load(BASE, "train"))

    def finetune(self) -> None:
        """Makes `finetuned.keras`; the base is the teacher where the recipe has one."""

        def train() -> tuple[keras.Model, History]:
            model = self.load(SEARCHED, "search")
            return model, self._finetune(model, "finetune")

        self.train_once("finetune", _AFTER, "finetune", train)

    def evaluate(self) -> None:
        """Compares the base with the result: score on the test split, costs, time per image."""
        self.check_alone()
        with self.stage("evaluate") as needed:
            if needed:
                compare(self, {"before": (BASE, "train"), "after": (_AFTER, "finetune")})

    def export(self) -> None:
        """Makes the files in `export/`, whose answers are compared with the model's."""
        self.check_alone()
        files = [f"export/{kind.file}" for kind in kinds(self.config["export"]["format"]).values()]
        with self.stage("export", *files) as needed:
            if needed:
                after = self.load(_AFTER, "finetune")
                export(self, self.load(BASE, "train"), after)

    def _finetune(self, model: keras.Model, folder: str) -> History:
        taught = self.recipes["finetune"].distillation
        teacher = self.load(BASE, "train") if taught else None
        return self.fit(model, "finetune", folder, teacher=teacher)

    def parts(self, name: str) -> dict[str, Any]:
        """The part of the configuration that the result of a stage depends on."""
        parts = super().parts(name)
        if "search" in parts and self.config["search"]["stages"] > 1:
            parts["finetune"] = self.config["finetune"]
        return parts

    def _partly_pruned(self) -> keras.Model:
        """The network that the last search starts from: the base, or what steps before it left.

        Every step takes the MACs down by the same factor, and is fine-tuned.
        """
        steps = self.config["search"]["stages"]
        model = self.load(BASE, "train")
        for step in range(1, steps):
            name, file = f"step{step}", f"step{step}.keras"
            if not self.workdir.is_sound(file):
                self.workdir.set_aside("search", file)
                print(f"search: step {step} of {steps}", flush=True)
                pruned, score = best_model(self._search(model, step))
                history = self._finetune(pruned, name)
                scores = {
                    "score": score,
                    "holdout_accuracy": history.get("val_accuracy", [])[-1:],
                }
                flops = CostModel(trace(pruned)).full.flops
                found = {"flops": flops, **scores, "history": history}
                steps_before = self.workdir.metrics.get("steps", {})
                self.workdir.publish(file, pruned, steps={**steps_before, name: found})
                self._drop_backup(name)
            model = self.load(file, "search")
        return model

    def _search(self, model: keras.Model, step: int | None = None) -> ChannelSearch:
        """Scores the candidates of a step, by default the last; or as a worker some of them."""
        options, steps = dict(self.config["search"]), self.config["search"]["stages"]
        budget, last = self.budget, step is None
        if steps > 1:
            graph = trace(model)
            budget = self._budget_of(CostModel(graph).full, step or steps)
            options |= inputs.remaining(options, graph, self.cost.graph, last=last)
        project = "search" if last else f"search_step{step}"
        return search(self, model, budget, options, project, latency_model=self._latency_model)

    def _budget_of(self, costs: Costs, step: int) -> Budget:
        """The budget of a step in absolute numbers: its tolerance is that of the whole way."""
        full, steps = self.cost.full._asdict(), self.config["search"]["stages"]
        last = self.budget.absolute(full, costs._asdict())
        if step == steps:
            return last
        name = self.budget.target
        share = sum(self.budget.ranges(full)[name]) / 2 / full[name]
        return Budget(
            **{name: round(share ** (step / steps) * full[name])}, tolerance=last.tolerance
        )
