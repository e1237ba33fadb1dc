"""Pruning a trained network: train (or load), search, fine-tune, evaluate, export, report."""

from __future__ import annotations

import json
import os
from typing import Any

import keras
import numpy as np

from tfrcp import blueprint
from tfrcp.cost import CostModel
from tfrcp.deployment import kinds
from tfrcp.evaluation import metric_for
from tfrcp.graph.trace import trace
from tfrcp.pipeline import inputs
from tfrcp.pipeline.checks import SEARCHES, check
from tfrcp.pipeline.comparing import compare, export
from tfrcp.pipeline.run import BASE, Run
from tfrcp.search.oracles import RandomChannelOracle
from tfrcp.search.repair import best_model
from tfrcp.search.tuner import ChannelSearch

_SEARCHED, _AFTER = "pruned.keras", "finetuned.keras"


class Pipeline(Run):
    """The whole job, or one stage of it.

    Everything that can be wrong with the configuration is found here, before any long work.

    Args:
        config: Nested dict; see `configs/default.py`.
        workdir: Path of the working folder.

    Raises:
        ValueError: If a part of the configuration is wrong, with what would do.
    """

    stages = ("train", "search", "finetune", "evaluate", "export")

    def __init__(self, config: dict[str, Any], workdir: str | os.PathLike[str]) -> None:
        check(config)
        super().__init__(config, workdir)
        self.model = inputs.initial_model(config, self.data)
        metric_for(self.model, config["search"]["objective"])
        self.cost = CostModel(trace(self.model))
        self.budget, search = inputs.budget(config["search"]), config["search"]
        space = inputs.space(self.cost.graph, search)
        # Draws all the candidates: finds out in seconds whether the budget can be met.
        RandomChannelOracle(
            space, self.cost, self.budget, search["objective"], search["max_trials"], config["seed"]
        )
        if self.is_worker:
            return  # The chief keeps the working folder.
        smallest = self.cost(space.smallest).flops[0]
        self.describe(
            budget={
                "flops_target": self.budget.flops,
                "tolerance": self.budget.tolerance,
                "flops_full": self.cost.full.flops,
                "feasible_min_ratio": float(smallest / self.cost.full.flops),
            },
        )

    def prune(self) -> None:
        """All stages, and the report."""
        self.run()

    def train(self) -> None:
        """Makes `base.keras`: trains the network, or takes the given one."""
        if not self.is_chief:
            if not self.workdir.stands("train", self.parts("train"), BASE):
                self.fit(self.model, "train", "base")
            return
        with self.stage("train", BASE) as needed:
            if needed:
                history = self.fit(self.model, "train", "base")
                self.save(BASE, self.model, "base")
                self.merge("training", base={"history": history})

    def search(self) -> None:
        """Makes `channels.json` and `pruned.keras`, the best of the candidates.

        As a worker (see `tfrcp.search.distributed`) it scores candidates for the chief, who does.
        """
        self.check_alone()
        if self.is_worker:
            self._search(self.workdir.load_model(BASE, "train"))
            return
        with self.stage("search", "channels.json", _SEARCHED) as needed:
            if needed:
                self._record(self._search(self.workdir.load_model(BASE, "train")))

    def finetune(self) -> None:
        """Makes `finetuned.keras`; the base is the teacher where the recipe has one."""
        if not self.is_chief:
            if not self.workdir.stands("finetune", self.parts("finetune"), _AFTER):
                self._finetune(self.workdir.load_model(_SEARCHED, "search"), "finetune")
            return
        with self.stage("finetune", _AFTER) as needed:
            if needed:
                model = self.workdir.load_model(_SEARCHED, "search")
                history = self._finetune(model, "finetune")
                self.save(_AFTER, model, "finetune")
                self.merge("training", finetune={"history": history})

    def evaluate(self) -> None:
        """Compares the base with the result: accuracy on the test split, costs, time per image."""
        self.check_alone()
        with self.stage("evaluate") as needed:
            if needed:
                self.workdir.load_model(BASE, "train")
                compare(self, {"before": BASE, "after": _AFTER})

    def export(self) -> None:
        """Makes the files in `export/`, whose answers are compared with the model's."""
        self.check_alone()
        files = [f"export/{kind.file}" for kind in kinds(self.config["export"]["format"]).values()]
        with self.stage("export", *files) as needed:
            if needed:
                after = self.workdir.load_model(_AFTER, "finetune")
                export(self, self.workdir.load_model(BASE, "train"), after)

    def _finetune(self, model: keras.Model, folder: str) -> dict[str, list[float]]:
        taught = self.recipes["finetune"].distillation
        teacher = self.workdir.load_model(BASE, "train") if taught else None
        return self.fit(model, "finetune", folder, teacher=teacher)

    def _search(self, model: keras.Model) -> ChannelSearch:
        """Scores the candidates, or as a worker some of them."""
        options = self.config["search"]
        tuner = SEARCHES[options["sampler"]](
            model,
            self.budget.flops,
            seed=self.config["seed"],
            params=self.budget.params,
            directory=str(self.workdir.path),
            project_name="search",
            batch_size=self.config["evaluate"]["batch_size"],
            log_dir=str(self.workdir / "tensorboard") if self.config["tensorboard"] else None,
            **{k: v for k, v in options.items() if k not in ("flops", "params", "sampler")},
        )
        holdout = self.data.holdout.arrays()
        tuner.search(
            self.data.train.dataset(self.config["evaluate"]["batch_size"]), validation_data=holdout
        )
        return tuner

    def _record(self, tuner: ChannelSearch) -> None:
        """Writes down what a search found, and makes the network."""
        options = self.config["search"]
        trials = [t for t in tuner.oracle.trials.values() if t.score is not None]
        costs = self.cost(np.array([tuner.channels_of(trial) for trial in trials]))
        best = tuner.oracle.get_best_trials(1)[0]
        kept = tuner.get_best_channels(1)[0]
        self.workdir.update(
            channels={
                group.name: {"kept": kept[group.name], "full": group.size}
                for group in tuner.graph.prunable
            },
            search={
                "criterion": options["criterion"],
                "objective": options["objective"],
                "trials": [
                    {
                        "id": t.trial_id,
                        "score": t.score,
                        "flops": int(f),
                        "params": int(p),
                        "stopped": bool(t.message),
                    }
                    for t, f, p in zip(trials, costs.flops, costs.params, strict=True)
                ],
                "best": best.trial_id,
                "baseline_score": tuner.evaluator.score_model(tuner.model),
                "acceptance": getattr(tuner.oracle.sampler, "acceptance", None),
                "images_holdout": self.data.holdout.size,
                "images_calibration": min(options["calibration_images"], self.data.train.size),
            },
        )
        pruned, score = best_model(tuner)
        print(f"search: best {best.score:.4f}, {score:.4f} after the last repair", flush=True)
        self.merge("results", after_search={"test_accuracy": None, "holdout_accuracy": score})
        self.workdir.save_model(_SEARCHED, pruned)
        content = blueprint.describe(
            tuner.graph,
            tuner.channels_of(best),
            {
                **{key: self.config["model"][key] for key in ("name", "options")},
                "input_shape": list(self.data.input_shape),
                "classes": self.data.classes,
            },
            score=best.score,
            objective=options["objective"],
            seed=self.config["seed"],
            provenance={
                "versions": self.workdir.metrics["versions"],
                "data": self.data.name,
                "base": self.config["model"]["base"],
                **{key: options[key] for key in ("criterion", "update", "divisor")},
                "trial": best.trial_id,
                "trials": len(trials),
            },
        )
        self.workdir.write("channels.json", json.dumps(content, indent=1))
