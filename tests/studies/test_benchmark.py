from __future__ import annotations

import csv
import json
import re
import shutil

import numpy as np
import pytest

from tests.small_run import write_inputs
from tests.studies.small_benchmark import OWN, config
from tfrcp.studies import Benchmark, pooling
from tfrcp.studies.experiment import Experiment

# What a row says but for the time that it took.
TIMES = ("criterion_seconds", "allocation_seconds", "finetune_seconds")
BROKEN = "def gives_up(step):\n    raise RuntimeError('no idea')\n\n"
BROKEN += "def keeps_all(step):\n    return step.space.largest\n"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = write_inputs(tmp_path_factory.mktemp("inputs"))
    (folder / "broken.py").write_text(BROKEN)
    return folder


def with_failures(inputs):
    broken = [f"{inputs / 'broken.py'}:{name}" for name in ("gives_up", "keeps_all")]
    return config(inputs, allocations=("uniform", OWN["allocation"], *broken))


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    """The folder of a benchmark that ran undisturbed."""
    folder = tmp_path_factory.mktemp("finished")
    Benchmark(with_failures(inputs), folder).run()
    return folder


def rows_of(folder):
    lines = csv.DictReader((folder / "results.csv").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def cells_of(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_it_writes_every_result(finished):
    cells, rows = cells_of(finished), rows_of(finished)
    assert len(cells) == len(list((finished / "cells").glob("*.json"))) == 21
    assert {row["study"] for row in rows} == {"criteria", "search", "epochs", "samples"}
    own = next(row for row in rows if row["criterion"] == OWN["criterion"])
    assert own["row"] == "largest_weight (own_criterion.py)" and own["test_count"] == "2"
    own = next(row for row in rows if row["allocation"] == OWN["allocation"])
    assert own["row"] == "wider_with_depth (own_allocation.py)" and own["test_count"] == "2"
    page = (finished / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 5 == len(list(finished.glob("plots/*.png")))
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "Spearman" in page and "Spearman" in (finished / "results.md").read_text()


def test_statistics_are_those_of_the_cells(finished):
    cells = [cell for cell in cells_of(finished) if "error" not in cell["result"]]

    def accuracies(**wanted):
        found = {c["seed"]: c for c in cells if all(c[k] == v for k, v in wanted.items())}
        return [found[seed]["result"]["test_accuracy"] for seed in (0, 1)]

    common = {"criterion": "l1", "flops": 0.5, "epochs": 1, "samples": 3}
    ours = accuracies(allocation="uniform", **common)
    baseline = accuracies(allocation="random", **common)
    row = next(
        r for r in rows_of(finished) if (r["study"], r["row"]) == ("epochs", "uniform, 1 epoch")
    )
    assert float(row["test_mean"]) == pytest.approx(np.mean(ours))
    difference = np.subtract(ours, baseline)
    assert float(row["difference_mean"]) == pytest.approx(difference.mean())
    reach = 12.7062 * difference.std(ddof=1) / np.sqrt(2)
    assert float(row["difference_high"]) == pytest.approx(
        min(difference.mean() + reach, 1), abs=1e-4
    )


def test_what_failed_is_shown_with_its_reason(finished):
    for name in ("results.md", "report.html"):
        text = (finished / name).read_text()
        assert "no idea" in text and "gives_up (broken.py)" in text
        assert "The budget is" in text and "keeps_all (broken.py)" in text
    failed = [row for row in rows_of(finished) if row["failures"]]
    assert [row["test_mean"] for row in failed] == ["", ""]
    assert sum("error" in cell["result"] for cell in cells_of(finished)) == 4


def test_costs_are_counted(finished):
    (row,) = (r for r in rows_of(finished) if (r["study"], r["row"]) == ("search", "random"))
    base = json.loads((finished / "settings.json").read_text())["search"]["calibration_images"]
    calibration = min(base, 98)  # 140 images, 0.3 of them held out
    assert float(row["candidates"]) == 3
    assert float(row["passes"]) == 3 * (calibration + 42)
    assert float(row["finetune_images"]) == float(row["images"]) == 0
    (row,) = (r for r in rows_of(finished) if r["row"] == "random, 1 epoch")
    assert float(row["finetune_images"]) == 98


@pytest.mark.nightly
def test_the_same_seeds_give_the_same_table_after_an_interruption(
    inputs, finished, tmp_path, monkeypatch, capsys
):
    finetune, done = Experiment.finetune, []

    def interrupted(self, *args, **kwargs):
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(kwargs["test"])
        return finetune(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Experiment, "finetune", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Benchmark(with_failures(inputs), tmp_path).run()
    assert "not run" in (tmp_path / "results.md").read_text()
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("cells/*.json")}
    assert len(before) == sum(done) == 4
    capsys.readouterr()
    Benchmark(with_failures(inputs), tmp_path).run()
    assert all(file.stat().st_mtime_ns == time for file, time in before.items())
    assert "cells 21/21" in capsys.readouterr().out
    assert rows_of(tmp_path) == rows_of(finished)
    Benchmark(with_failures(inputs), tmp_path).run()
    assert "cells" not in capsys.readouterr().out  # all done before


def test_a_cell_reads_the_test_images_once(inputs, finished, tmp_path, monkeypatch):
    shutil.copytree(finished, tmp_path / "copy")
    (victim,) = (tmp_path / "copy" / "cells").glob("l1-uniform-0.5-3samples-seed1-0epochs.json")
    victim.unlink()
    read, accuracy = [], Experiment._accuracy

    def counted(self, model, split):
        read.append(split is self._test)
        return accuracy(self, model, split)

    monkeypatch.setattr(Experiment, "_accuracy", counted)
    Benchmark(with_failures(inputs), tmp_path / "copy").run("search")
    assert sorted(read) == [False, False, True]  # a part before, holdout, and test
    assert rows_of(tmp_path / "copy") == rows_of(finished)


def test_a_changed_function_gives_new_cells(inputs, tmp_path):
    file = tmp_path / "mine.py"
    names = []
    for text in ("def mine(step):\n    return 1\n", "def mine(step):\n    return 2\n"):
        file.write_text(text)
        found = Benchmark(config(inputs, allocations=(f"{file}:mine",)), tmp_path)
        cell = found.grid.studies["search"].cells[1]
        names.append(found.name(cell))
    assert names[0] != names[1] and all("mine_mine" in name for name in names)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"criteria": ("nope",)}, "criterion must be one of .*'l1'.*'nope'"),
        ({"criteria": ("nope.py:mine",)}, "There is none at nope.py"),
        ({"allocations": ("nope",)}, "allocation must be one of .*'uniform'.*'nope'"),
        ({"allocations": (f"{__file__}:nope",)}, "has none of this name"),
        ({"allocations": ("uniform@nope",)}, "criterion must be one of"),
        ({"criterion": "nope"}, "criterion must be one of"),
        ({"flops": (1.5,)}, "flops.*1.5"),
        ({"flops": ()}, r"flops.*a number"),
        ({"learning_rates": (0,)}, "learning_rates"),
        ({"margins": (0,)}, "margins.*0"),
        ({"margins": ()}, "margins"),
        ({"seeds": 1}, "seeds.*at least 2.*1"),
        ({"samples": 0}, "samples.*at least 1"),
        ({"epochs_grid": (-1,)}, "epochs_grid.*-1"),
        ({"samples_grid": (0,)}, "samples_grid.*0"),
        ({"pool": -1}, "pool"),
        ({"finetune__keep_best": True}, "finetune.keep_best.*alike"),
        ({"finetune__distillation": 0.5}, "finetune.distillation.*alike"),
        ({"search__reconstruction": "nope"}, "search.reconstruction"),
        ({"data__name": "nope"}, "Unknown data set"),
    ],
)
def test_bad_input_is_refused_before_any_work(inputs, tmp_path, change, part):
    with pytest.raises(ValueError, match=part):
        Benchmark(config(inputs, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_file_of_ones_own_that_cannot_be_run_is_named(inputs, tmp_path):
    (tmp_path / "mine.py").write_text("import nope\n")
    with pytest.raises(ValueError, match="mine.py.*ModuleNotFoundError"):
        Benchmark(config(inputs, criteria=(f"{tmp_path / 'mine.py'}:f",)), tmp_path / "run")


def test_a_folder_of_another_benchmark_is_refused(inputs, finished):
    with pytest.raises(ValueError, match="search.tolerance was 0.05 and is now 0.06"):
        Benchmark(config(inputs, search__tolerance=0.06), finished)
    with pytest.raises(ValueError, match="margins"):
        Benchmark(config(inputs, margins=(5.0,)), finished)
    Benchmark(config(inputs, seeds=5), finished)  # more of the same is welcome


def test_folders_of_several_bases_are_pooled(inputs, finished, tmp_path):
    second = tmp_path / "second"
    shutil.copytree(finished, second)
    with pytest.raises(ValueError, match="one base"):
        pooling.pool(with_failures(inputs), [finished, second], tmp_path / "out")
    settings = json.loads((second / "settings.json").read_text())
    settings["seed"] += 1
    (second / "settings.json").write_text(json.dumps(settings))
    for file in second.glob("cells/l1-uniform-*.json"):
        cell = json.loads(file.read_text())
        file.write_text(json.dumps({**cell, "test_accuracy": cell["test_accuracy"] / 2}))
    pooling.pool(with_failures(inputs), [finished, second], tmp_path / "out")
    assert "over bases" in (tmp_path / "out" / "results.md").read_text()
    ours, single = (
        next(r for r in rows_of(folder) if (r["study"], r["row"]) == ("search", "uniform"))
        for folder in (tmp_path / "out", finished)
    )
    assert (ours["test_count"], ours["seeds_done"], ours["seeds_planned"]) == ("2", "4", "4")
    mean = float(single["test_mean"])
    assert float(ours["test_mean"]) == pytest.approx(0.75 * mean)
    assert float(ours["test_deviation"]) == pytest.approx(mean / 2 / np.sqrt(2))
    with pytest.raises(ValueError, match="Two folders"):
        pooling.pool(with_failures(inputs), [finished], tmp_path / "out")
    with pytest.raises(ValueError, match="of its own"):
        pooling.pool(with_failures(inputs), [finished, second], second)
    with pytest.raises(ValueError, match="settings.json"):
        pooling.pool(with_failures(inputs), [finished, tmp_path / "none"], tmp_path / "out")


def test_a_folder_of_before_there_were_margins_takes_them(inputs, finished, tmp_path):
    settings = json.loads((finished / "settings.json").read_text())
    margins = settings["benchmark"].pop("margins")
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    Benchmark(with_failures(inputs), tmp_path)
    kept = json.loads((tmp_path / "settings.json").read_text())
    assert kept["benchmark"]["margins"] == margins == [1.0, 0.5]


def test_an_unknown_study_and_a_configuration_without_studies(inputs, finished):
    with pytest.raises(ValueError, match="`study` must be one of .*'criteria'.*'nope'"):
        Benchmark(config(inputs), finished).run("nope")
    whole = config(inputs)
    del whole["benchmark"]
    with pytest.raises(ValueError, match="part `benchmark`"):
        Benchmark(whole, finished)
