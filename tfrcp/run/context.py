"""A run: a configuration, and the folder with the results of its stages."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import tensorflow as tf

import tfrcp
from tfrcp import training
from tfrcp.data.encoded import unreadable_file
from tfrcp.data.folder import broken
from tfrcp.graph.compiling import compile_like
from tfrcp.graph.trace import trace
from tfrcp.run import inputs, report
from tfrcp.run.checks import check_recipes, recipe
from tfrcp.run.outcome import outcome
from tfrcp.run.workdir import Workdir
from tfrcp.scoring import objectives
from tfrcp.search.distributed import role
from tfrcp.space.cost import CostModel
from tfrcp.training.backup import History

BASE = "base.keras"


class Run:
    """What runs of all kinds share: a subclass has the stages.

    A stage that is complete is not run again; one that was interrupted resumes.

    Attributes:
        stages: Names of the stages, in order; each is a method, and a part of the configuration.
        recipes: Maps "train" and "finetune" to their `tfrcp.training.Recipe`.
        data: The images in three splits.
        model: The network that the run starts with, compiled where it is no plain classifier.
        objective: What candidates are scored by.
        cost: Costs of that network.
        budget: What the pruned network may cost.

    Raises:
        ValueError: If a part of the configuration is wrong, with what would do.
    """

    stages: tuple[str, ...] = ()

    def __init__(self, config: dict[str, Any], workdir: str | os.PathLike[str]) -> None:
        self.config = config
        trainings = (name for name in ("train", "finetune") if name in config)
        self.recipes = {name: recipe(config, name) for name in trainings}
        devices = config["devices"] or None
        self.strategy = training.strategy(config["strategy"], devices=devices)
        check_recipes(self.recipes, self.strategy)
        # A process that only helps writes nothing: a worker of the search, or of the training.
        self.is_chief = training.is_chief(self.strategy)
        self.is_worker = role() == "worker" or not self.is_chief
        if not self.is_chief:
            # The chief may be a moment later.
            os.makedirs(Path(workdir).expanduser(), exist_ok=True)
        self.workdir = Workdir(workdir, shared=self.is_worker)
        self._description: dict[str, Any] = {}
        self._asked = {stage: copy.deepcopy(self.parts(stage)) for stage in self.stages}
        self._ended: list[str] = []  # trainings whose backups go once their stage is recorded
        with contextlib.nullcontext() if self.is_worker else self.workdir.alone():
            self._check_stages()
        self.data = inputs.load_data(config)
        self.model = inputs.initial_model(config, self.data)
        self.objective = objectives.get(self.model, config["search"]["objective"])
        self.cost = CostModel(trace(self.model))
        self.budget = inputs.budget(config["search"])

    def _check_stages(self) -> None:
        """Refuses another configuration of any stage that was begun."""
        for stage, parts in self._asked.items():
            self.workdir.check(stage, parts)

    def run(self) -> None:
        """All stages, and the report. No other process comes in between."""
        self.check_alone()
        with contextlib.nullcontext() if self.is_worker else self.workdir.alone():
            for name in self.stages:
                getattr(self, name)()
            self.report()

    def report(self) -> None:
        """Makes `report.html` and prints the closing table."""
        with self._reading_metrics():
            page = report.write(self.workdir.path)
            print(f"\n{report.table(self.workdir.metrics)}\n\nreport: {page}", flush=True)

    def outcome(self, stage: str) -> dict[str, Any]:
        """The figures of a stage, or of the whole job; see `tfrcp.run.outcome`."""
        with self._reading_metrics():
            return outcome(stage, self.workdir.metrics)

    @contextlib.contextmanager
    def _reading_metrics(self) -> Iterator[None]:
        """Names `metrics.json` where figures in it are missing or of another kind."""
        try:
            yield
        except (LookupError, TypeError, AttributeError, ArithmeticError, StopIteration) as error:
            if self.workdir.is_as_written:
                raise
            raise ValueError(
                f"{self.workdir / 'metrics.json'} was edited or is damaged: its figures cannot be "
                f"read ({type(error).__name__}: {error}). Remove it to run all stages again."
            ) from error

    def load(self, name: str, stage: str) -> keras.Model:
        """Loads a network that a stage made, compiled as the one that the run began with."""
        model = self.workdir.load_model(name, stage)
        compile_like(model, self.model)
        return model

    def parts(self, name: str) -> dict[str, Any]:
        """The part of the configuration that the result of a stage depends on."""
        parts = {key: self.config[key] for key in ("seed", "data", "model")}
        parts["data"] = {
            key: value
            for key, value in parts["data"].items()
            if key not in ("data_dir", "download")
        }
        for stage in self.stages[: self.stages.index(name) + 1]:
            parts[stage] = self.config[stage]
            if parts[stage].get("sparsity"):
                parts["fixed"] = self.config["search"]["fixed"]  # what it does not punish
        return parts

    @contextlib.contextmanager
    def stage(self, name: str, *outputs: str) -> Iterator[bool]:
        """Runs a stage unless it is complete; see `Workdir.stage`.

        Raises:
            ValueError: If an image cannot be read, with its name.
        """
        if self.is_worker:
            raise ValueError(
                f"Workers run the search alone, not the stage '{name}'. Unset KERASTUNER_TUNER_ID, "
                "KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT."
            )
        with self.workdir.alone():
            self._check_stages()  # the folder may have changed since this object was made
            if any(self.workdir.metrics.get(key) != v for key, v in self._description.items()):
                self.workdir.update(**self._description)
            with self.naming_images(), self.workdir.stage(name, self.parts(name), *outputs) as n:
                yield n
            for folder in self._ended:
                self._drop_backup(folder)
            self._ended.clear()

    @contextlib.contextmanager
    def naming_images(self) -> Iterator[None]:
        """Names the file where an image cannot be decoded."""
        try:
            yield
        except tf.errors.OpError as error:
            for split in (self.data.train, self.data.holdout, self.data.test):
                if found := unreadable_file(split):
                    raise ValueError(broken([found])) from error
            raise

    def check_alone(self) -> None:
        """Refuses a stage that several workers cannot share."""
        if self.config["strategy"] == "multi_worker":
            raise ValueError(
                "`config.strategy='multi_worker'` is for bin/train.py and bin/finetune.py. Run the "
                "other stages on one machine, on the same --workdir with --config.strategy=auto."
            )

    def describe(self, smallest: np.ndarray, **more: Any) -> None:
        """Says what the run is; the first stage that is run writes it into `metrics.json`.

        Args:
            smallest: The least channel vector of the space, int array [prunable groups].
            **more: Further entries.
        """
        data = self.data
        description = dict(
            name=self.config["name"],
            seed=self.config["seed"],
            config=self.config,
            versions={
                "tfrcp": tfrcp.__version__,
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
                "keras_tuner": keras_tuner.__version__,
            },
            data={
                "name": data.name,
                "classes": data.classes,
                "input_shape": data.input_shape,
                **{name: getattr(data, name).size for name in ("train", "holdout", "test")},
            },
            budget={
                "flops_target": self.budget.flops,
                "tolerance": self.budget.tolerance,
                "flops_full": self.cost.full.flops,
                "feasible_min_ratio": float(self.cost(smallest).flops[0] / self.cost.full.flops),
            },
            objective={
                "name": self.objective.name,
                "label": self.objective.label,
                "direction": self.objective.direction,
            },
            **more,
        )
        self._description = json.loads(json.dumps(description))

    def merge(self, part: str, **entries: Any) -> None:
        """Sets entries of one part of the metrics."""
        self.workdir.update(**{part: {**self.workdir.metrics.get(part, {}), **entries}})

    def fit(
        self,
        model: keras.Model,
        name: str,
        folder: str,
        *,
        teacher: keras.Model | None = None,
    ) -> History:
        """Trains a model by a recipe; what was interrupted resumes."""
        recipe, seed, callbacks = self.recipes[name], self.config["seed"], []
        if self.is_chief:
            (self.workdir / "logs").mkdir(exist_ok=True)
            board = self.workdir / "tensorboard" / folder if self.config["tensorboard"] else None
            callbacks = [training.EpochLog(self.workdir / "logs" / f"{folder}.csv", board)]
        with self.backing_up(folder) as backup:
            return training.fit(
                model,
                lambda epoch: self.data.train.batches(
                    recipe.batch_size, shuffle=True, augment=recipe.augment, seed=seed, epoch=epoch
                ),
                self.data.holdout.batches(self.config["evaluate"]["batch_size"]),
                recipe,
                teacher=teacher,
                strategy=self.strategy,
                objective=self.objective,
                fixed=self.config["search"]["fixed"] if recipe.sparsity else (),
                backup_dir=backup,
                callbacks=callbacks,
            )

    def train_once(
        self, name: str, file: str, folder: str, train: Callable[[], tuple[keras.Model, History]]
    ) -> None:
        """A stage that trains: all workers do, and the first one keeps what comes of it.

        Args:
            name: Name of the stage.
            file: The .keras file that it makes.
            folder: Name of the training: of its backup, and of its history in the metrics.
            train: Trains; returns the network and the history.
        """
        if not self.is_chief:
            if not self.workdir.is_complete(name, self.parts(name), file):
                train()
            return
        with self.stage(name, file) as needed:
            if needed:
                model, history = train()
                self.workdir.save_model(file, model)
                self._ended.append(
                    folder
                )  # once the stage is recorded its backup has done its duty
                self.merge("training", **{folder: {"history": history}})

    @contextlib.contextmanager
    def backing_up(self, folder: str) -> Iterator[Path]:
        """Where a training is backed up; one that diverged has nothing to go on from."""
        try:
            yield self.workdir / "backup" / folder
        except FloatingPointError:
            self._drop_backup(folder)
            raise

    def _drop_backup(self, folder: str) -> None:
        shutil.rmtree(self.workdir / "backup" / folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # the other training's stands there
            (self.workdir / "backup").rmdir()
