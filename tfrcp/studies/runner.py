"""Runs the studies: the base, the learning rate, the cells, and then the report.

Cells, and what they share (base, scores of a criterion, allocations), are stored one by one, each
kind in a folder of its own: a process that is killed loses what it was at, several processes share
the work, and what two studies or two cells have in common is done once.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tfrcp import files
from tfrcp.run import Pipeline, checks, inputs
from tfrcp.studies import reporting, settings
from tfrcp.studies.allocations import ALLOCATIONS
from tfrcp.studies.experiment import Experiment, Result
from tfrcp.studies.functions import CRITERIA, find_all
from tfrcp.studies.grid import Cell, Grid, Setting
from tfrcp.studies.progress import run_with_progress
from tfrcp.studies.protocol import best_inside, recipe
from tfrcp.studies.records import CellResult
from tfrcp.studies.store import Store
from tfrcp.units import percent

_FINETUNED = ("test_accuracy", "holdout_accuracy", "before_accuracy", "finetune_images")
_ALLOCATED = ("score", "flops", "params", "channels", "candidates")


class Benchmark:
    """A benchmark: a configuration and the folder of its results.

    Args:
        config: Nested dict; see `configs/benchmark_digits.py`.
        workdir: Path of the folder, which other processes may share.
        store_options: Keyword arguments of `Store`.

    Raises:
        ValueError: If a part of the configuration is wrong, or the folder holds another benchmark.
    """

    def __init__(
        self, config: dict[str, Any], workdir: str | os.PathLike[str], **store_options: float
    ) -> None:
        if "benchmark" not in config:
            raise ValueError(
                "The configuration must have a part `benchmark`, as configs/benchmark_digits.py. "
                f"Received: {sorted(config)}"
            )
        checks.check(config)
        if config["data"]["stream"]:
            raise ValueError("`config.data.stream` must be false: a benchmark reads images often")
        recipe(config)
        self.config, self.options = config, config["benchmark"]
        self.grid = Grid(self.options)
        rows = [row for study in self.grid.studies.values() for row in study.settings]
        allocations = ["uniform", *(row.allocation for row in rows)]  # it chooses learning rates
        self._criteria = find_all("criterion", (row.criterion for row in rows), CRITERIA)
        self._allocations = find_all("allocation", allocations, ALLOCATIONS)
        self.data = inputs.load_data(config)
        self.workdir = Path(workdir)
        self.workdir.mkdir(parents=True, exist_ok=True)
        settings.check(self.workdir / "settings.json", config)
        self._stores = {
            name: Store(self.workdir / name, **store_options)
            for name in ("base", "scores", "allocations", "rates", "cells")
        }
        base = str(self.workdir / "base" / "base.keras")
        self.experiment = Experiment(config, base, self.data)

    def run(self, study: str = "all") -> None:
        """Does what is left of a study, or of all, and writes the report.

        Args:
            study: One of `STUDIES`, or "all".

        Raises:
            ValueError: If the name is unknown.
            RuntimeError: If the base, or every learning rate, failed.
        """
        cells = dict.fromkeys(cell for each in self.grid.of(study) for cell in each.cells)
        try:
            # Seed by seed, so that every row has some early on.
            self.do(sorted(cells, key=lambda cell: cell.seed))
        finally:
            self.report()

    def do(self, cells: Iterable[Cell], rates: Callable[[float], float] | None = None) -> None:
        """Does what is left of some cells; the base and the learning rates first.

        Args:
            cells: The cells.
            rates: Function of epochs to the learning rate, such as `learning_rate` of another
                base; by default that of this one.
        """
        self._make_base()
        rates = rates or self.learning_rate
        of_epochs = {
            epochs: rates(epochs) for epochs in dict.fromkeys(c.setting.epochs for c in cells)
        }
        self._do(
            "cells", {self.name(c): self._finetune(c, of_epochs[c.setting.epochs]) for c in cells}
        )

    def report(self) -> Path:
        """Writes results.jsonl, results.csv, results.md and report.html from what is there."""
        results = {
            cell: self.result(cell) for study in self.grid.studies.values() for cell in study.cells
        }
        done = {cell: result for cell, result in results.items() if result is not None}
        page = reporting.write(self.workdir, self.grid, done, self.facts())
        print(f"report: {page}", flush=True)
        return page

    def facts(self) -> dict[str, Any]:
        """What all cells share, see `tfrcp.studies.reporting`."""
        named = (*self._criteria.items(), *self._allocations.items())
        chosen = self._stores["rates"].get
        rates = {n: chosen(f"chosen-{n:g}epochs") for n in sorted(self.grid.lengths)}
        return {
            "name": self.config["name"],
            "base": self._stores["base"].get("base"),
            "learning_rates": {epochs: rate for epochs, rate in rates.items() if rate},
            "config": self.config,
            "labels": {name: found.label for name, found in named},
            "images": {
                name: getattr(self.data, name).size for name in ("train", "holdout", "test")
            },
        }

    def result(self, cell: Cell) -> CellResult | None:
        """All that is known of a cell: what it reached and what it cost; `None` if not done."""
        done = self._stores["cells"].get(self.name(cell))
        if done is None or "error" in done:
            return done and CellResult(error=done["error"])
        scored = self._stores["scores"].get(self._scores_name(cell))
        allocated = self._stores["allocations"].get(self._allocation_name(cell))
        if scored is None or allocated is None or "error" in (scored | allocated):
            return None  # Removed by hand, to be done again.
        parts = {"criterion": scored, "allocation": allocated, "finetune": done}
        return CellResult.of(
            {
                **{name: done[name] for name in _FINETUNED if name in done},
                **{name: allocated[name] for name in _ALLOCATED},
                "images": scored["images"],
                "passes": scored["passes"] + allocated["passes"],
                "seconds": {name: part["seconds"] for name, part in parts.items()},
            }
        )

    def name(self, cell: Cell) -> str:
        """Name of a cell's file."""
        return f"{self._allocation_name(cell, cell.seed)}-{cell.setting.epochs:g}epochs"

    # The units of work.

    def _make_base(self) -> None:
        """Trains the base, or takes the given one, and measures it."""
        folder = self._stores["base"].path

        def train() -> Result:
            Pipeline(self.config, folder).train()
            found = self.experiment.base()
            accuracy, flops = percent(found["test_accuracy"]), f"{found['flops']:,}"
            print(f"base: {accuracy} of the test images, {flops} MACs per image", flush=True)
            return found

        result = self._stores["base"].run({"base": train})["base"]
        if "error" in result:
            (folder / "base.json").unlink(missing_ok=True)
            raise RuntimeError(f"The base could not be made: {result['error']}")

    def _scored(self, cell: Cell) -> Result:
        """The scores of the cell's criterion, which many cells share."""
        criterion, seed = self._criteria[cell.setting.criterion], self._criterion_seed(cell)

        def score() -> Result:
            passes, preparation = 0, criterion.preparation
            if preparation:
                work = lambda: self.experiment.prepare(preparation)  # noqa: E731
                passes = self._need("base", preparation, work)["passes"]
            found = self.experiment.score_channels(criterion, seed)
            return {**found, "passes": found["passes"] + passes}

        return self._need("scores", self._scores_name(cell), score)

    def _allocated(self, cell: Cell, scored: Result) -> Result:
        """The channel counts of the cell, which those of other epochs share."""
        setting = cell.setting
        return self._need(
            "allocations",
            self._allocation_name(cell),
            lambda: self.experiment.allocate(
                self._allocations[setting.allocation],
                scored,
                setting.flops,
                setting.samples,
                cell.seed,
            ),
        )

    def _finetune(
        self, cell: Cell, learning_rate: float, *, test: bool = True
    ) -> Callable[[], Result]:
        """The work of a cell."""

        def finetune() -> Result:
            scored = self._scored(cell)
            return self.experiment.finetune(
                self._allocated(cell, scored),
                scored,
                cell.setting.epochs,
                learning_rate,
                cell.seed,
                test=test,
            )

        return finetune

    def learning_rate(self, epochs: float) -> float:
        """The learning rate of a length of fine-tuning, for all rows.

        It is chosen by the holdout images with uniform widths, which nobody has searched. Where the
        best of the grid is at its edge, the grid is continued until it is not.
        """
        rates, options = sorted(self.options["learning_rates"]), self.options
        if not epochs:
            return rates[0]  # of no meaning
        uniform = Setting(options["criterion"], "uniform", 1.0, epochs, options["samples"])
        trials = [
            Cell(dataclasses.replace(uniform, flops=flops), self.grid.seeds[0])
            for flops in options["flops"]
        ]
        best, means = best_inside(rates, lambda rates: self._tried(rates, trials))
        files.write_text(
            self._stores["rates"].path / f"chosen-{epochs:g}epochs.json",
            json.dumps({"learning_rate": best, "holdout_accuracy": means}),
        )
        return best

    def _tried(self, rates: list[float], trials: list[Cell]) -> dict[float, float]:
        """Mean holdout accuracy of the trials by learning rate; those that failed are left out."""
        works = {
            f"{rate:g}-{self.name(cell)}": self._finetune(cell, rate, test=False)
            for rate in rates
            for cell in trials
        }
        results = self._do("rates", works)
        means = {}
        for rate in rates:
            own = [results[f"{rate:g}-{self.name(cell)}"] for cell in trials]
            if not any("error" in result for result in own):
                means[rate] = sum(result["holdout_accuracy"] for result in own) / len(own)
        if not means:
            raise RuntimeError(f"No learning rate could be tried: {next(iter(results.values()))}")
        return means

    # What is between them.

    def _do(self, kind: str, works: dict[str, Callable[[], Result]]) -> dict[str, Result]:
        """Does units of work that are not done, with progress."""
        return run_with_progress(self._stores[kind], kind, works)

    def _need(self, kind: str, name: str, work: Callable[[], Result]) -> Result:
        """What a cell is made from: done now, or before, or waited for."""
        result = self._stores[kind].run({name: work})[name]
        if "error" in result:
            raise RuntimeError(f"{kind}/{name}: {result['error']}")
        return result

    def _criterion_seed(self, cell: Cell) -> int | None:
        return cell.seed if cell.setting.criterion == "random" else None

    def _scores_name(self, cell: Cell) -> str:
        seed = self._criterion_seed(cell)
        return self._criteria[cell.setting.criterion].key + ("" if seed is None else f"-seed{seed}")

    def _allocation_name(self, cell: Cell, seed: int | None = None) -> str:
        """Name of an allocation's file; one that no seed changes serves all seeds."""
        setting = cell.setting
        allocation = self._allocations[setting.allocation]
        fixed = getattr(allocation.call, "deterministic", False)
        if seed is None and not (fixed and self._criterion_seed(cell) is None):
            seed = cell.seed
        return (
            f"{self._criteria[setting.criterion].key}-{allocation.key}-{setting.flops:g}-"
            f"{setting.samples}samples" + ("" if seed is None else f"-seed{seed}")
        )
