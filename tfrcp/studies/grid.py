"""The grid of the studies: which settings are compared, over which seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tfrcp.arguments import check_choice, check_int, check_number

STUDIES = ("criteria", "search", "epochs", "samples")
BASELINE = "random"  # the allocation that all others are compared with


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a row of a table stands for: everything but the seed.

    Attributes:
        criterion: Name of the criterion.
        allocation: Name of the allocation.
        flops: Target of the MACs, a float in (0, 1]: a share of the unpruned network's.
        epochs: Epochs of fine-tuning, whole, or below 1: that share of the images, once.
        samples: Networks that a search scores.
    """

    criterion: str
    allocation: str
    flops: float
    epochs: float
    samples: int


@dataclasses.dataclass(frozen=True)
class Cell:
    """A unit of work: a setting with a seed, of the draws and of the order of the data."""

    setting: Setting
    seed: int


@dataclasses.dataclass(frozen=True)
class Study:
    """A question and the settings that answer it.

    Attributes:
        name: One of `STUDIES`.
        settings: The rows of its table.
        seeds: The seeds of each row.
        pool: Cells of single random draws, for distributions; empty where there is none.
        lengths: The same draws with other lengths of fine-tuning.
    """

    name: str
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]
    pool: tuple[Cell, ...] = ()
    lengths: tuple[Cell, ...] = ()

    @property
    def cells(self) -> list[Cell]:
        """All its cells, none of them twice."""
        cells = [Cell(setting, seed) for seed in self.seeds for setting in self.settings]
        return list(dict.fromkeys([*cells, *self.pool, *self.lengths]))


class Grid:
    """The studies of a configuration.

    Args:
        options: `config.benchmark` as a dict; see `configs/benchmark_digits.py`.
        seeds: The seeds, instead of as many as the options have from 0 on.

    Attributes:
        studies: Maps names to `Study`.
        seeds: The seeds.
        margins: Within which rows count as equivalent, in percentage points.

    Raises:
        ValueError: If a field is wrong, with what would do.
    """

    def __init__(self, options: Mapping[str, Any], seeds: Sequence[int] | None = None) -> None:
        _check(options)
        self._options = options
        self.seeds = tuple(range(options["seeds"]) if seeds is None else seeds)
        self.margins = tuple(options["margins"])
        # The smallest network shows differences best.
        hardest, epochs, samples = (
            min(options["flops"]),
            whole(options["epochs"]),
            options["samples"],
        )
        main = options["criterion"]
        targets = [(flops, epochs, samples) for flops in options["flops"]]
        one = Setting(main, BASELINE, hardest, epochs, samples)
        settings = {
            "criteria": [
                Setting(name, BASELINE, flops, epochs, options["criteria_samples"] or samples)
                for flops in options["flops"]
                for name in _unique(main, *options["criteria"])
            ],
            "search": [
                Setting(criterion or main, name, *rest)
                for rest in targets
                for name, criterion in map(
                    split_allocation, _unique(BASELINE, *options["allocations"])
                )
            ],
            "epochs": [
                dataclasses.replace(one, allocation=name, epochs=n)
                for n in sorted(_unique(epochs, *map(whole, options["epochs_grid"])))
                for name in _unique(BASELINE, *options["epochs_allocations"])
            ],
            "samples": [
                dataclasses.replace(one, samples=n)
                for n in sorted(_unique(1, samples, *options["samples_grid"]))
            ],
        }
        draw = dataclasses.replace(one, samples=1)
        seeds = range(options["pool"])
        pool = tuple(Cell(draw, seed) for seed in seeds)
        lengths = tuple(
            Cell(dataclasses.replace(draw, epochs=n), seed)
            for n in map(whole, options["pool_epochs"])
            for seed in seeds
        )
        self.studies = {
            name: Study(name, tuple(rows), self.seeds, *([pool, lengths] * (name == "samples")))
            for name, rows in settings.items()
        }

    def of(self, study: str) -> list[Study]:
        """A study by its name, or "all".

        Raises:
            ValueError: If the name is unknown.
        """
        check_choice("study", study, (*STUDIES, "all"))
        return [self.studies[name] for name in STUDIES if study in (name, "all")]

    @property
    def lengths(self) -> set[float]:
        """The lengths of fine-tuning, in epochs, but for none."""
        cells = (cell for study in self.studies.values() for cell in study.cells)
        return {cell.setting.epochs for cell in cells} - {0}

    def baseline(self, study: str, setting: Setting) -> Setting:
        """Plain random search at the same cost and with the same fine-tuning.

        Among criteria with as many samples: where that is one, all keep the same channel counts.
        """
        return Setting(
            self._options["criterion"],
            BASELINE,
            setting.flops,
            setting.epochs,
            setting.samples if study == "criteria" else self._options["samples"],
        )


def split_allocation(entry: str) -> tuple[str, str | None]:
    """Splits "ALLOCATION@CRITERION"; the criterion is `None` where there is none."""
    name, _, criterion = entry.partition("@")
    return name, criterion or None


def whole(number: float) -> float:
    """A whole number as an int; any other as it is."""
    return int(number) if number % 1 == 0 else number


def _unique(*names: Any) -> list[Any]:
    return list(dict.fromkeys(names))


def _check(options: Mapping[str, Any]) -> None:
    for name, least in (("samples", 1), ("pool", 0), ("seeds", 2), ("bases", 1)):
        check_int(f"config.benchmark.{name}", options[name], least)
    for value in options["samples_grid"]:
        check_int("config.benchmark.samples_grid", value, 1)
    for name in ("score_images", "finetune_images", "test_images", "criteria_samples"):
        check_int(f"config.benchmark.{name}", options[name], 0)
    for name in ("epochs", "epochs_grid", "pool_epochs"):
        for value in (options[name],) if name == "epochs" else options[name]:
            if not isinstance(value, int | float) or not (0 <= value < 1 or value % 1 == 0 < value):
                raise ValueError(
                    f"`config.benchmark.{name}` must be whole numbers of epochs, or below 1 a "
                    f"share of one. Received: {value!r}"
                )
    for name, most in (("flops", 1), ("learning_rates", 1), ("margins", 100)):
        for value in options[name] or [None]:
            check_number(f"config.benchmark.{name}", value, f"(0, {most}]")
