"""Writes the tables and pictures of the studies anew from the results that lie beside the pages.

python -m benchmarks.study_pages

docs/benchmark.md is written from docs/benchmark_*.csv, the results.csv of `tfrcp study` on one base
each. docs/studies/ is written from its results_*.jsonl, the results.jsonl of `tfrcp study` on
several bases: copy the file there and run the command. Both hold what the tests need, so
differences are judged again at the margins of the configuration. What is written stands between the
lines `<!-- table: NAME STUDY -->` and `<!-- end -->` of a page; the rest of it is not touched.
Pictures of single draws in docs/benchmark.md need the draws and stay as they are. Takes seconds.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import tfrcp
from tfrcp import files
from tfrcp.configs import (
    benchmark_cifar10_resnet20,
    benchmark_digits,
    study_cifar10_resnet8,
    study_digits_resnet8,
)
from tfrcp.run.report.drawing import png
from tfrcp.studies import pictures, pooling, properties, properties_page, reporting, rows_csv
from tfrcp.studies import tables as study_tables
from tfrcp.studies.grid import STUDIES, Grid, whole
from tfrcp.studies.results_jsonl import from_jsonl
from tfrcp.studies.texts import TITLES, Texts, as_markdown

_DOCS = Path(__file__).parents[1] / "docs"
_CONFIGS = {"digits": benchmark_digits, "cifar10": benchmark_cifar10_resnet20}
_BASES = {"digits": study_digits_resnet8, "cifar10": study_cifar10_resnet8}
_SHAPES = {"digits": (8, 8, 1), "cifar10": (16, 16, 3)}


class _Same(dict):
    """Labels of what tfrcp names itself."""

    def __missing__(self, name: str) -> str:
        return name


def main() -> None:
    for file, data in written().items():
        files.write_bytes(file, data)


def written(docs: Path = _DOCS) -> dict[Path, bytes]:
    """What the files are to hold."""
    return {**_of_one_base(docs), **_of_several_bases(docs / "studies")}


def _of_one_base(docs: Path) -> dict[Path, bytes]:
    found: dict[Path, bytes] = {}
    page = (docs / "benchmark.md").read_text()
    for name, module in _CONFIGS.items():
        grid, texts, facts = _facts(module)
        file = docs / f"benchmark_{name}.csv"
        studies = rows_csv.from_csv(grid, file.read_text())
        for study, rows in studies.items():
            page = _replaced(page, f"{name} {study}", _tables(grid, texts, study, rows))
            for picture, data in reporting.drawn(study, rows, None, texts, facts).items():
                found[docs / f"benchmark_{name}_{picture}.png"] = data
        every = [row for rows in studies.values() for row in rows]
        found[file] = rows_csv.as_csv(texts, every).encode()
    return {**found, docs / "benchmark.md": page.encode()}


def _of_several_bases(docs: Path) -> dict[Path, bytes]:
    found: dict[Path, bytes] = {}
    pages = {name: (docs / name).read_text() for name in ("index.md", "properties.md")}
    for name, module in _BASES.items():
        config = module.get_config().to_dict()
        grid, texts, facts = _facts(module, pooling.pooled(config["benchmark"])[0])
        results = from_jsonl((docs / f"results_{name}.jsonl").read_text())
        for study in STUDIES:
            rows = study_tables.rows(grid, grid.studies[study], results)
            if sum(row.done > 0 for row in rows) < 2:  # nothing to compare: the page says so
                continue
            pictured = _pictured(study, rows, texts, facts)
            found |= {docs / f"{name}_{file}.png": data for file, data in pictured.items()}
            parts = [_progress(rows), *(f"![{TITLES[study]}]({name}_{f}.png)" for f in pictured)]
            if any(row.test for row in rows):
                parts.append(_tables(grid, texts, study, rows))
            pages["index.md"] = _replaced(
                pages["index.md"], f"{name} {study}", "\n\n".join(parts), "index.md"
            )
        if f"<!-- table: {name} properties -->" not in pages["properties.md"]:
            continue
        text, picture = _properties(name, config, results)
        if picture is not None:
            found[docs / f"{name}_properties.png"] = picture
            text += f"\n\n![Properties of single draws]({name}_properties.png)"
        pages["properties.md"] = _replaced(
            pages["properties.md"], f"{name} properties", text, "properties.md"
        )
    return {**found, **{docs / page: text.encode() for page, text in pages.items()}}


def _facts(module: Any, grid: Grid | None = None) -> tuple[Grid, Texts, dict[str, Any]]:
    facts = {"config": module.get_config().to_dict(), "labels": _Same()}
    grid = grid or Grid(facts["config"]["benchmark"])
    return grid, Texts(grid, facts), facts


def _pictured(study: str, rows: list, texts: Texts, facts: dict[str, Any]) -> dict[str, bytes]:
    """The pictures of a study, differences beside the margins; none without an interval."""
    if not any(row.test and row.test.count > 1 for row in rows):
        return {}
    found = {} if study == "samples" else reporting.drawn(study, rows, None, texts, facts)
    if study in ("epochs", "samples"):
        title = {"epochs": "At each length of fine-tuning", "samples": "Number of draws"}[study]
        data = png(lambda _: pictures.effects(title, rows, texts), {})
        found |= {f"{study}_effects": data} if data else {}
    return found


def _progress(rows: list) -> str:
    done, planned = sum(row.done for row in rows), sum(row.planned for row in rows)
    return f"Cells done: {done} of {planned} planned."


def _properties(name: str, config: dict[str, Any], results: Any) -> tuple[str, bytes | None]:
    options = config["benchmark"]
    some = properties.draws(options, results)
    epochs = whole(options["epochs"])
    model = getattr(tfrcp.models, config["model"]["name"])(_SHAPES[name])
    names = [group.name for group in tfrcp.trace(model).prunable]
    sentences = properties_page.sentences(some, epochs, names)
    parts = [textwrap.fill(sentence, 99) for sentence in sentences]
    if len(some) >= properties.FEWEST:
        parts.insert(1, as_markdown(properties_page.distribution(some, epochs)))
    title = f"Single random draws, {config['model']['name']} on {config['data']['name']}"
    return "\n\n".join(parts), png(
        lambda _: properties_page.picture(title, some, epochs, names), {}
    )


def _tables(grid: Grid, texts: Texts, study: str, rows: list) -> str:
    parts = []
    for target in dict.fromkeys(row.setting.flops for row in rows):
        own = [row for row in rows if row.setting.flops == target]
        headline = texts.headline(grid.studies[study], target)
        parts.append(textwrap.fill(f"{headline[0].upper()}{headline[1:]}:", 99))
        parts.append(as_markdown(texts.accuracies(own)))
        parts.append(textwrap.fill(texts.verdict(own), 99))
    return "\n\n".join(parts)


def _replaced(page: str, key: str, text: str, name: str = "benchmark.md") -> str:
    pattern = re.compile(f"(<!-- table: {key} -->\n).*?(\n<!-- end -->)", re.DOTALL)
    page, count = pattern.subn(lambda found: f"{found[1]}\n{text}\n{found[2]}", page)
    if count != 1:
        raise ValueError(f"{name} must hold `<!-- table: {key} -->` once. It does {count} times")
    return page


if __name__ == "__main__":
    main()
