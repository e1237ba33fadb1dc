"""The stages of a run: train (or load), search, fine-tune, evaluate, export, report.

A stage whose result stands in the working folder is not run again; one that was interrupted goes on
where it was.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import shutil
from typing import Any

import keras
import keras_tuner
import numpy as np
import tensorflow as tf

import tfrcp
from tfrcp import blueprint, criteria, latency, models, report, training
from tfrcp.cost import CostModel
from tfrcp.data import AUGMENTATIONS, Splits, load
from tfrcp.deployment import deploy, kinds
from tfrcp.evaluation import metric_for
from tfrcp.graph.trace import trace
from tfrcp.search.distributed import role
from tfrcp.search.oracles import RandomChannelOracle
from tfrcp.search.repair import best_model
from tfrcp.search.tuner import (
    UPDATES,
    EvolutionaryChannelSearch,
    RandomChannelSearch,
    SurrogateChannelSearch,
)
from tfrcp.space import Budget, SearchSpace
from tfrcp.workdir import Workdir

STAGES = ("train", "search", "finetune", "evaluate", "export")
SEARCHES = {
    "random": RandomChannelSearch,
    "evolutionary": EvolutionaryChannelSearch,
    "surrogate": SurrogateChannelSearch,
}
_BEFORE, _SEARCHED, _AFTER = "base.keras", "pruned.keras", "finetuned.keras"


class Pipeline:
    """A run: a configuration and the folder in which its results stand.

    Everything that can be wrong with the configuration is found here, before any long work.

    Args:
        config: Nested dict; see `configs/default.py`.
        workdir: Path of the working folder.

    Raises:
        ValueError: If a part of the configuration is wrong, with what would do.
    """

    def __init__(self, config: dict[str, Any], workdir: str | os.PathLike[str]) -> None:
        self.config = config
        self.recipes = {name: training.Recipe(**config[name]) for name in ("train", "finetune")}
        self.strategy = training.strategy(config["strategy"])
        criteria.get(config["search"]["criterion"])
        self._builder()
        self._check_numbers()
        # A process that only helps writes nothing: a worker of the search, or of the training.
        self._is_worker = role() == "worker" or not training.is_chief(self.strategy)
        if not training.is_chief(self.strategy):
            os.makedirs(workdir, exist_ok=True)  # the chief may be a moment later
        self.workdir = Workdir(workdir, shared=self._is_worker)
        for stage in STAGES:
            self.workdir.check(stage, self._parts(stage))
        self.data = self._load_data()
        self.model = self._initial_model()
        metric_for(self.model, config["search"]["objective"])
        graph = trace(self.model)
        self.cost, search = CostModel(graph), config["search"]
        self.budget = Budget(
            _target(search["flops"]), _target(search["params"]), search["tolerance"]
        )
        space = SearchSpace(
            graph,
            search["min_ratio"],
            search["max_ratio"],
            search["divisor"],
            search["fixed"],
            tied=search["tied"],
        )
        # Draws all the candidates: finds out in seconds whether the budget can be met.
        RandomChannelOracle(
            space, self.cost, self.budget, search["objective"], search["max_trials"], config["seed"]
        )
        if self._is_worker:
            return  # The chief keeps the working folder.
        smallest = self.cost(space.smallest).flops[0]
        self.workdir.update(
            name=config["name"],
            seed=config["seed"],
            config=config,
            versions={
                "tfrcp": tfrcp.__version__,
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
                "keras_tuner": keras_tuner.__version__,
            },
            data={
                "name": self.data.name,
                "classes": self.data.classes,
                "input_shape": list(self.data.input_shape),
                **{name: getattr(self.data, name).size for name in ("train", "holdout", "test")},
            },
            budget={
                "flops_target": self.budget.flops,
                "tolerance": self.budget.tolerance,
                "flops_full": self.cost.full.flops,
                "feasible_min_ratio": float(smallest / self.cost.full.flops),
            },
        )

    def prune(self) -> None:
        """All stages, and the report."""
        self._check_alone()
        for name in STAGES:
            getattr(self, name)()
        self.report()

    def train(self) -> None:
        """Makes `base.keras`: trains the network, or takes the given one."""
        if not training.is_chief(self.strategy):
            if not self.workdir.stands("train", self._parts("train"), _BEFORE):
                self._fit(self.model, "train", "base")
            return
        with self._stage("train", _BEFORE) as needed:
            if needed:
                history = self._fit(self.model, "train", "base")
                self._save(_BEFORE, self.model, "base")
                self._merge("training", base={"history": history})

    def search(self) -> None:
        """Makes `channels.json` and `pruned.keras`, the best of the candidates.

        As a worker (see `tfrcp.search.distributed`) it scores candidates for the chief, who does.
        """
        self._check_alone()
        if self._is_worker:
            self._search(self.workdir.load_model(_BEFORE, "train"))
            return
        with self._stage("search", "channels.json", _SEARCHED) as needed:
            if needed:
                self._search(self.workdir.load_model(_BEFORE, "train"))

    def finetune(self) -> None:
        """Makes `finetuned.keras`; the base is the teacher where the recipe has one."""
        if not training.is_chief(self.strategy):
            if not self.workdir.stands("finetune", self._parts("finetune"), _AFTER):
                self._fit(self.workdir.load_model(_SEARCHED, "search"), "finetune", "finetune")
            return
        with self._stage("finetune", _AFTER) as needed:
            if needed:
                model = self.workdir.load_model(_SEARCHED, "search")
                history = self._fit(model, "finetune", "finetune")
                self._save(_AFTER, model, "finetune")
                self._merge("training", finetune={"history": history})

    def evaluate(self) -> None:
        """Compares the base with the result: accuracy on the test split, costs, time per image."""
        self._check_alone()
        with self._stage("evaluate") as needed:
            if needed:
                self._evaluate(
                    self.workdir.load_model(_BEFORE, "train"),
                    self.workdir.load_model(_AFTER, "finetune"),
                )

    def export(self) -> None:
        """Makes the files in `export/`, whose answers are compared with the model's."""
        self._check_alone()
        files = [f"export/{kind.file}" for kind in kinds(self.config["export"]["format"]).values()]
        with self._stage("export", *files) as needed:
            if needed:
                after = self.workdir.load_model(_AFTER, "finetune")
                self._export(self.workdir.load_model(_BEFORE, "train"), after)

    def report(self) -> None:
        """Makes `report.html` and prints the closing table."""
        page = report.write(self.workdir.path)
        print(f"\n{report.table(self.workdir.metrics)}\n\nreport: {page}", flush=True)

    # The work behind the stages.

    def _check_alone(self) -> None:
        """Refuses a stage that several workers cannot share."""
        if self.config["strategy"] == "multi_worker":
            raise ValueError(
                "`config.strategy='multi_worker'` is for bin/train.py and bin/finetune.py. Run the "
                "other stages on one machine, on the same --workdir with --config.strategy=auto."
            )

    def _stage(self, name: str, *outputs: str) -> Any:
        if self._is_worker:
            raise ValueError(
                f"Workers run the search alone, not the stage '{name}'. Unset KERASTUNER_TUNER_ID, "
                "KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT."
            )
        return self.workdir.stage(name, self._parts(name), *outputs)

    def _parts(self, name: str) -> dict[str, Any]:
        """The part of the configuration that the result of a stage depends on."""
        parts = {key: self.config[key] for key in ("seed", "data", "model")}
        parts["data"] = {
            key: value
            for key, value in parts["data"].items()
            if key not in ("data_dir", "download")
        }
        for stage in STAGES[: STAGES.index(name) + 1]:
            parts[stage] = self.config[stage]
        return parts

    def _builder(self) -> Any:
        name, options = self.config["model"]["name"], self.config["model"]["options"]
        models.full_channels(name)  # Refuses an unknown name.
        builder = getattr(models, name)
        taken = {"input_shape", "classes", "channels", "seed"}
        known = set(inspect.signature(builder).parameters) - taken
        unknown = sorted(set(options) - known)
        if unknown:
            raise ValueError(
                f"`config.model.options` must be among {sorted(known)}, as `tfrcp.models.{name}` "
                f"takes them. Received: {unknown}"
            )
        return builder

    def _check_numbers(self) -> None:
        """Refuses what later stages would stumble over."""
        config = self.config
        for path, least in (
            ("seed", 0),
            ("search.calibration_images", 2),
            ("evaluate.batch_size", 1),
            ("evaluate.latency_batch_size", 1),
            ("export.calibration_images", 1),
            ("export.accuracy_tolerance", 0),
        ):
            value = config
            for name in path.split("."):
                value = value[name]
            if value < least:
                raise ValueError(f"`config.{path}` must be at least {least}. Received: {value}")
        try:
            kinds(config["export"]["format"])
        except ValueError as error:
            raise ValueError(f"`config.export.format` {error}") from None
        if config["train"]["distillation"]:
            raise ValueError(
                "`config.train.distillation` must be 0: the base has no teacher. Received: "
                f"{config['train']['distillation']}. `config.finetune.distillation` imitates the "
                "base"
            )
        for path, value, known in (
            ("search.sampler", config["search"]["sampler"], SEARCHES),
            ("search.update", config["search"]["update"], UPDATES),
            ("train.augment", config["train"]["augment"], (None, *AUGMENTATIONS)),
            ("finetune.augment", config["finetune"]["augment"], (None, *AUGMENTATIONS)),
        ):
            if value not in known:
                raise ValueError(
                    f"`config.{path}` must be one of {list(known)}. Received: {value!r}"
                )

    def _load_data(self) -> Splits:
        data = self.config["data"]
        return load(
            data["name"],
            data_dir=data["data_dir"],
            holdout=data["holdout"],
            seed=self.config["seed"],
            download=data["download"],
            mean=data["mean"] or None,
            std=data["std"] or None,
        )

    def _initial_model(self) -> keras.Model:
        """The network before training: built, or read from `config.model.base`."""
        base = self.config["model"]["base"]
        if base and not os.path.isfile(base):
            raise ValueError(
                f"`config.model.base` must be a file. Received: {base!r}, which is missing"
            )
        if base.endswith(".keras"):
            try:
                model = models.load_keras(base)
            except ValueError as error:
                raise ValueError(f"`config.model.base`: {error}") from None
            trace(model)  # Refuses a subclassed model.
        else:
            model = self._builder()(
                self.data.input_shape,
                self.data.classes,
                seed=self.config["seed"],
                **self.config["model"]["options"],
            )
            if base:
                models.load_pytorch_cifar_resnet(model, base)
        shapes = [tuple(x.shape[1:]) for x in (*model.inputs, *model.outputs)]
        expected = [tuple(self.data.input_shape), (self.data.classes,)]
        if shapes != expected:
            raise ValueError(
                f"The network must map images {expected[0]} to {self.data.classes} classes, as the "
                f"data '{self.data.name}'. Received: {base or model.name} with shapes {shapes}"
            )
        return model

    def _fit(self, model: keras.Model, name: str, folder: str) -> dict[str, list[float]]:
        recipe, seed = self.recipes[name], self.config["seed"]
        taught = name == "finetune" and recipe.distillation
        try:
            return training.fit(
                model,
                lambda epoch: self.data.train.dataset(
                    recipe.batch_size, shuffle=True, augment=recipe.augment, seed=seed, epoch=epoch
                ),
                self.data.holdout.dataset(self.config["evaluate"]["batch_size"]),
                recipe,
                teacher=self.workdir.load_model(_BEFORE, "train") if taught else None,
                strategy=self.strategy,
                backup_dir=self.workdir / "backup" / folder,
            )
        except FloatingPointError:
            self._drop_backup(folder)
            raise

    def _save(self, name: str, model: keras.Model, folder: str) -> None:
        """Saves a trained model; its backup has done its duty."""
        self.workdir.save_model(name, model)
        self._drop_backup(folder)

    def _drop_backup(self, folder: str) -> None:
        shutil.rmtree(self.workdir / "backup" / folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # the other training's stands there
            (self.workdir / "backup").rmdir()

    def _search(self, model: keras.Model) -> None:
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
        if self._is_worker:
            return
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
                "baseline_score": tuner.evaluator.score_model(model),
                "acceptance": getattr(tuner.oracle.sampler, "acceptance", None),
                "images_holdout": self.data.holdout.size,
                "images_calibration": min(options["calibration_images"], self.data.train.size),
            },
        )
        pruned, score = best_model(tuner)
        print(f"search: best {best.score:.4f}, {score:.4f} after the last repair", flush=True)
        self._merge("results", after_search={"test_accuracy": None, "holdout_accuracy": score})
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

    def _evaluate(self, before: keras.Model, after: keras.Model) -> None:
        options = self.config["evaluate"]
        test = self.data.test.dataset(options["batch_size"])
        images, _ = self.data.holdout.arrays(options["latency_batch_size"])
        times = latency.measure(
            {"before": before, "after": after}, images, batch_size=options["latency_batch_size"]
        )
        ratio = latency.ratio(times["after"], times["before"])
        for name, model, file in (("before", before, _BEFORE), ("after", after, _AFTER)):
            full = CostModel(trace(model)).full
            results = {
                "test_accuracy": training.evaluate(model, test)["accuracy"],
                **{key: int(value) for key, value in full._asdict().items()},
                "bytes": (self.workdir / file).stat().st_size,
                "latency_ms": times[name].median,
            }
            self._merge("results", **{name: results})
        self._merge(
            "results",
            latency_ratio={
                "ratio": ratio.ratio,
                "low": ratio.low,
                "high": ratio.high,
                "batch_size": options["latency_batch_size"],
                "device": times["after"].device,
            },
        )

    def _export(self, before: keras.Model, after: keras.Model) -> None:
        options, data = self.config["export"], self.config["data"]
        (self.workdir / "export").mkdir(exist_ok=True)
        images, labels = self.data.holdout.arrays()
        calibration, _ = self.data.train.arrays(options["calibration_images"])
        preprocessing = {}
        if options["preprocessing"] and (data["mean"] or data["std"]):
            mean, std = (
                np.array(data[name] or [default], "float32")
                for name, default in (("mean", 0.0), ("std", 1.0))
            )
            images, calibration = (array * std + mean for array in (images, calibration))
            channels = images.shape[-1]
            preprocessing = {
                name: np.broadcast_to(value, channels).tolist()
                for name, value in (("mean", mean), ("std", std))
            }
        for name, found in deploy(
            before,
            after,
            self.workdir / "export",
            options["format"],
            images,
            labels,
            calibration=calibration,
            batch_size=self.config["evaluate"]["latency_batch_size"],
            accuracy_tolerance=options["accuracy_tolerance"],
            **preprocessing,
        ):
            self._merge("export", **{name: found})
            print(
                f"export: {found['path']}, {found['after']['bytes']:,} bytes, differs from the "
                f"model by at most {found['max_difference']:.2g}, right on "
                f"{100 * found['after']['accuracy']:.1f} % of the holdout images (the model "
                f"{100 * found['model_accuracy']:.1f} %)",
                flush=True,
            )

    def _merge(self, part: str, **entries: Any) -> None:
        """Sets entries of one part of the metrics."""
        self.workdir.update(**{part: {**self.workdir.metrics.get(part, {}), **entries}})


def _target(number: float | None) -> float | int | None:
    """A budget from the configuration: whole numbers above 1 are absolute."""
    whole = number is not None and 1 < number < float("inf") and number == int(number)
    return int(number) if whole else number
