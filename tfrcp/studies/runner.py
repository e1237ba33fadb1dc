"""Runs the studies: the base, the learning rate, the cells, and then the report.

Cells, and what they share (base, scores of a criterion, allocations), are stored one by one, each
kind in a folder of its own: a process that is killed loses what it was at, several processes share
the work, and what two studies or two cells have in common is done once.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tfrcp import files
from tfrcp.run import Pipeline, checks, inputs
from tfrcp.studies import reporting, settings
from tfrcp.studies.allocations import ALLOCATIONS
from tfrcp.studies.experiment import Experiment, Result, outcome
from tfrcp.studies.functions import CRITERIA, Named, find
from tfrcp.studies.grid import STUDIES, Cell, Grid, Setting
from tfrcp.studies.protocol import recipe
from tfrcp.studies.store import Store
from tfrcp.units import duration, percent


class Benchmark:
    """A benchmark: a configuration and the folder in which its results stand.

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
        self._criteria, self._allocations = self._find()
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
        if study != "all" and study not in STUDIES:
            raise ValueError(f"`study` must be one of {[*STUDIES, 'all']}. Received: {study!r}")
        studies = [self.grid.studies[name] for name in STUDIES if study in (name, "all")]
        cells = dict.fromkeys(cell for each in studies for cell in each.cells)
        # Seed by seed, so that every row has some early on.
        cells = sorted(cells, key=lambda cell: cell.seed)
        self._make_base()
        # The learning rate is that of uniform widths, which nobody has searched.
        criterion, epochs, samples = (
            self.options[name] for name in ("criterion", "epochs", "samples")
        )
        trials = [
            Cell(Setting(criterion, "uniform", flops, epochs, samples), self.grid.seeds[0])
            for flops in self.options["flops"]
        ]
        try:
            rate = self._learning_rate(trials)
            self._do("cells", {self.name(c): self._finetune(c, rate) for c in cells})
        finally:
            self.report()

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
        return {
            "name": self.config["name"],
            "base": self._stores["base"].get("base"),
            "learning_rate": self._stores["rates"].get("chosen"),
            "config": self.config,
            "labels": {name: found.label for name, found in named},
            "images": {
                name: getattr(self.data, name).size for name in ("train", "holdout", "test")
            },
        }

    def result(self, cell: Cell) -> Result | None:
        """All that is known of a cell: what it reached and what it cost; `None` if not done."""
        done = self._stores["cells"].get(self.name(cell))
        if done is None or "error" in done:
            return done
        scored = self._stores["scores"].get(self._scores_name(cell))
        allocated = self._stores["allocations"].get(self._allocation_name(cell))
        if scored is None or allocated is None or "error" in (scored | allocated):
            return None  # Removed by hand, to be done again.
        return {
            **{name: done[name] for name in ("test_accuracy", "holdout_accuracy")},
            **{name: allocated[name] for name in ("score", "flops", "params", "channels")},
            "candidates": allocated["candidates"],
            "passes": scored["passes"] + allocated["passes"],
            "images": scored["images"],
            "finetune_images": done["finetune_images"],
            "seconds": {
                "criterion": scored["seconds"],
                "allocation": allocated["seconds"],
                "finetune": done["seconds"],
            },
        }

    def name(self, cell: Cell) -> str:
        """Name of a cell's file."""
        return f"{self._allocation_name(cell, cell.seed)}-{cell.setting.epochs}epochs"

    # The units of work.

    def _make_base(self) -> None:
        """Trains the base, or takes the given one, and measures it."""
        folder = self._stores["base"].path

        def train() -> Result:
            Pipeline(self.config, folder).train()
            return self.experiment.base()

        result = self._stores["base"].run({"base": train})["base"]
        if "error" in result:
            (folder / "base.json").unlink(missing_ok=True)
            raise RuntimeError(f"The base could not be made: {result['error']}")
        print(
            f"base: {percent(result['test_accuracy'])} of the test images, "
            f"{result['flops']:,} MACs per image (one is one FLOP)",
            flush=True,
        )

    def _scored(self, cell: Cell) -> Result:
        """The scores of the cell's criterion, which many cells share."""
        criterion, seed = self._criteria[cell.setting.criterion], self._criterion_seed(cell)
        return self._need(
            "scores",
            self._scores_name(cell),
            lambda: self.experiment.score_channels(criterion, seed),
        )

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

    def _learning_rate(self, trials: list[Cell]) -> float:
        """Chooses by the holdout images, once and for all rows."""
        works = {
            f"{rate:g}-{self.name(cell)}": self._finetune(cell, rate, test=False)
            for rate in self.options["learning_rates"]
            for cell in trials
        }
        results = self._do("rates", works)
        means = {}
        for rate in self.options["learning_rates"]:
            own = [results[f"{rate:g}-{self.name(cell)}"] for cell in trials]
            if not any("error" in result for result in own):
                means[rate] = sum(result["holdout_accuracy"] for result in own) / len(own)
        if not means:
            raise RuntimeError(f"No learning rate could be tried: {next(iter(results.values()))}")
        best = max(means, key=means.get)
        files.write_text(
            self._stores["rates"].path / "chosen.json",
            json.dumps({"learning_rate": best, "holdout_accuracy": means}),
        )
        return best

    # What is between them.

    def _do(self, kind: str, works: dict[str, Callable[[], Result]]) -> dict[str, Result]:
        """Does units of work that are not done, with progress."""
        store = self._stores[kind]
        done = [sum(store.is_complete(name) for name in works)]
        if done[0] < len(works):
            print(f"{kind}: {done[0]} of {len(works)} done before", flush=True)
        start = last = time.perf_counter()
        own = 0

        def tell(name: str, result: Result) -> None:
            nonlocal last, own
            own, now = own + 1, time.perf_counter()
            count = sum(store.is_complete(name) for name in works)
            left = (now - start) / own * (len(works) - count)
            line = f"{kind} {count}/{len(works)}: {name}: {outcome(result)}, {now - last:.1f} s"
            print(line + (f", about {duration(left)} left" if left else ""), flush=True)
            last = now

        return store.run(works, tell)

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

    def _find(self) -> tuple[dict[str, Named], dict[str, Named]]:
        rows = [s for study in self.grid.studies.values() for s in study.settings]
        allocations: Iterable[str] = dict.fromkeys(["uniform", *(s.allocation for s in rows)])
        return (
            {
                name: find("criterion", name, CRITERIA)
                for name in dict.fromkeys(s.criterion for s in rows)
            },
            {name: find("allocation", name, ALLOCATIONS) for name in allocations},
        )
