"""Writes what the cells say: results.jsonl, results.csv, results.md and report.html.

`facts` is what all cells share: `name`, `config` (nested dict), `base` (accuracies and costs of the
base, or `None`), `learning_rates` (by length of fine-tuning in epochs the one that was chosen, and
the holdout accuracies of all), `labels` (names of criteria and allocations in tables), `images`
(sizes of the splits) and, where results of several bases are pooled, `bases`, their number.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from tfrcp import files
from tfrcp.run.report.drawing import png
from tfrcp.run.report.page import STYLE
from tfrcp.studies import pictures, tables
from tfrcp.studies.grid import Grid
from tfrcp.studies.results_jsonl import as_jsonl
from tfrcp.studies.rows_csv import as_csv
from tfrcp.studies.tables import Pool, Results, Row
from tfrcp.studies.texts import TITLES, Table, Texts, as_markdown, facts_in_words

_WIDER = """
body { max-width: 60rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
table { font-size: .8125rem; }
th, td { white-space: normal; vertical-align: bottom; }
"""
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
    page = [f"<h1>{escape(facts['name'])}</h1>", *map(_paragraph, facts_in_words(facts))]
    (workdir / "plots").mkdir(exist_ok=True)
    for name, study in grid.studies.items():
        pool = tables.pool(study, results)
        markdown.append(f"## {TITLES[name]}")
        page.append(f"<h2>{TITLES[name]}</h2>")
        for file, picture in drawn(name, rows[name], pool, texts, facts).items():
            files.write_bytes(workdir / "plots" / f"{file}.png", picture)
            markdown.append(f"![{TITLES[name]}](plots/{file}.png)")
            page.append(_figure(picture, TITLES[name]))
        for target in dict.fromkeys(row.setting.flops for row in rows[name]):
            own = [row for row in rows[name] if row.setting.flops == target]
            headline, verdict = texts.headline(study, target), texts.verdict(own)
            accuracies, costs = texts.accuracies(own), texts.costs(own)
            markdown += [f"{headline[0].upper()}{headline[1:]}:", as_markdown(accuracies), verdict]
            markdown += [_COSTS, as_markdown(costs)]
            page += [f"<h3>{escape(headline[0].upper() + headline[1:])}</h3>", _table(accuracies)]
            page += [_paragraph(verdict), _paragraph(_COSTS, "quiet"), _table(costs)]
        if pool is not None:
            markdown += texts.pool(pool)
            page += map(_paragraph, texts.pool(pool))
    files.write_text(workdir / "results.md", "\n\n".join(filter(None, markdown)) + "\n")
    files.write_text(workdir / "report.html", _page(facts["name"], page))
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


def _paragraph(text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{escape(text)}</p>" if text else ""


def _figure(picture: bytes, description: str) -> str:
    data = base64.b64encode(picture).decode()
    return f'<figure><img alt="{escape(description)}" src="data:image/png;base64,{data}"></figure>'


def _table(table: Table) -> str:
    lines = []
    for number, cells in enumerate(table):
        tag = "th" if number == 0 else "td"
        lines.append("<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>")
    return f"<table>{''.join(lines)}</table>"


def _page(name: str, body: list[str]) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(name)}</title>\n<style>{STYLE}{_WIDER}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )
