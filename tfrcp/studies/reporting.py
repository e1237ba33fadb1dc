"""Writes what the cells say: results.jsonl, results.csv, results.md and report.html.

`facts` is what all cells share: `name`, `config` (nested dict), `base` (accuracies and costs of the
base, or `None`), `learning_rates` (by length of fine-tuning in epochs the one that was chosen, and
the holdout accuracies of all), `labels` (names of criteria and allocations in tables), `images`
(sizes of the splits) and, where results of several bases are pooled, `bases`, their number.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfrcp import files
from tfrcp.pages import render
from tfrcp.run.report.drawing import png
from tfrcp.studies import pictures, tables
from tfrcp.studies.grid import Grid
from tfrcp.studies.results_jsonl import as_jsonl
from tfrcp.studies.rows_csv import as_csv
from tfrcp.studies.tables import Pool, Results, Row
from tfrcp.studies.texts import TITLES, Texts, as_markdown, facts_in_words

_COSTS = (
    "Sizes and costs, mean over the seeds. Image passes, above: images that went through a network "
    "before fine-tuning, those of the criterion and, for each candidate, those that re-estimate "
    "its batch norms and score it. Times are wall time."
)


def write(workdir: Path, grid: Grid, results: Results, facts: Mapping[str, Any]) -> Path:
    """Writes all files.

    Args:
        workdir: Where to.
        grid: The studies.
        results: What cells came to; those that are not done are missing.
        facts: What they share.

    Returns:
        Path of report.html.
    """
    texts = Texts(grid, facts)
    rows = {name: tables.rows(grid, study, results) for name, study in grid.studies.items()}
    files.write_text(workdir / "results.jsonl", as_jsonl(results))
    every = [row for own in rows.values() for row in own]
    files.write_text(workdir / "results.csv", as_csv(texts, every))
    markdown = [f"# {facts['name']}", *facts_in_words(facts)]
    studies = []
    (workdir / "plots").mkdir(exist_ok=True)
    for name, study in grid.studies.items():
        pool = tables.pool(study, results)
        markdown.append(f"## {TITLES[name]}")
        found = drawn(name, rows[name], pool, texts, facts)
        for file, picture in found.items():
            files.write_bytes(workdir / "plots" / f"{file}.png", picture)
            markdown.append(f"![{TITLES[name]}](plots/{file}.png)")
        parts = []
        for target in dict.fromkeys(row.setting.flops for row in rows[name]):
            own = [row for row in rows[name] if row.setting.flops == target]
            headline = texts.headline(study, target)
            part = {
                "headline": f"{headline[0].upper()}{headline[1:]}",
                "accuracies": texts.accuracies(own),
                "verdict": texts.verdict(own),
                "costs": texts.costs(own),
            }
            parts.append(part)
            markdown += [f"{part['headline']}:", as_markdown(part["accuracies"]), part["verdict"]]
            markdown += [_COSTS, as_markdown(part["costs"])]
        said = [] if pool is None else texts.pool(pool)
        markdown += said
        studies.append({"title": TITLES[name], "pictures": found, "parts": parts, "pool": said})
    files.write_text(workdir / "results.md", "\n\n".join(filter(None, markdown)) + "\n")
    page = render(
        "study.html",
        title=facts["name"],
        facts=facts_in_words(facts),
        studies=studies,
        costs=_COSTS,
    )
    files.write_text(workdir / "report.html", page)
    return workdir / "report.html"


def drawn(
    name: str, rows: list[Row], pool: Pool | None, texts: Texts, facts: Mapping[str, Any]
) -> dict[str, bytes]:
    """PNG files of a study by name; those for which there is nothing yet are left out.

    Args:
        name: Of the study.
        rows: Its rows.
        pool: Its pool, if it has one.
        texts: Names rows.
        facts: `config` and `labels`.
    """
    where = f"{facts['config']['model']['name']} on {facts['config']['data']['name']}"
    if name in ("criteria", "search"):
        title = {
            "criteria": f"Criteria under random pruning, {where}",
            "search": f"Ways to allocate channels, {where}",
        }[name]
        draws = {name: lambda _: pictures.effects(title, rows, texts)}
    elif name == "epochs":
        title = f"Length of fine-tuning, {where}"
        draws = {name: lambda _: pictures.epochs(title, rows, facts["labels"])}
    else:
        draws = {
            "samples": lambda _: pictures.samples(f"Best of m draws, {where}", rows, pool),
            "pool": lambda _: pictures.pool(f"Single random draws, {where}", pool),
        }
    found = {file: png(draw, {}) for file, draw in draws.items()}
    return {file: picture for file, picture in found.items() if picture is not None}
