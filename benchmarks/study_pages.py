"""Writes the tables and pictures of docs/benchmark.md anew from docs/benchmark_*.csv.

python -m benchmarks.study_pages

The CSV files are those that `tfrcp study` writes as results.csv. They hold what the tests need, so
differences are judged again at the margins of the configuration. The page's tables stand between
the lines `<!-- table: NAME STUDY -->` and `<!-- end -->`; the rest of it is not touched. Pictures
of single draws need the draws and stay as `tfrcp study` drew them. Takes seconds.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from tfrcp import files
from tfrcp.configs import benchmark_cifar10_resnet20, benchmark_digits
from tfrcp.studies import reporting, rows_csv
from tfrcp.studies.grid import Grid
from tfrcp.studies.texts import Texts, as_markdown

_DOCS = Path(__file__).parents[1] / "docs"
_CONFIGS = {"digits": benchmark_digits, "cifar10": benchmark_cifar10_resnet20}


class _Same(dict):
    """Labels of what tfrcp names itself."""

    def __missing__(self, name: str) -> str:
        return name


def main() -> None:
    for file, data in written().items():
        files.write_bytes(file, data)


def written() -> dict[Path, bytes]:
    """What the files are to hold."""
    found: dict[Path, bytes] = {}
    page = (_DOCS / "benchmark.md").read_text()
    for name, module in _CONFIGS.items():
        facts = {"config": module.get_config().to_dict(), "labels": _Same()}
        grid = Grid(facts["config"]["benchmark"])
        texts = Texts(grid, facts)
        file = _DOCS / f"benchmark_{name}.csv"
        studies = rows_csv.from_csv(grid, file.read_text())
        for study, rows in studies.items():
            page = _replaced(page, f"{name} {study}", _tables(grid, texts, study, rows))
            for picture, data in reporting.drawn(study, rows, None, texts, facts).items():
                found[_DOCS / f"benchmark_{name}_{picture}.png"] = data
        every = [row for rows in studies.values() for row in rows]
        found[file] = rows_csv.as_csv(texts, every).encode()
    return {**found, _DOCS / "benchmark.md": page.encode()}


def _tables(grid: Grid, texts: Texts, study: str, rows: list) -> str:
    parts = []
    for target in dict.fromkeys(row.setting.flops for row in rows):
        own = [row for row in rows if row.setting.flops == target]
        headline = texts.headline(grid.studies[study], target)
        parts.append(textwrap.fill(f"{headline[0].upper()}{headline[1:]}:", 99))
        parts.append(as_markdown(texts.accuracies(own)))
        parts.append(textwrap.fill(texts.verdict(own), 99))
    return "\n\n".join(parts)


def _replaced(page: str, key: str, text: str) -> str:
    pattern = re.compile(f"(<!-- table: {key} -->\n).*?(\n<!-- end -->)", re.DOTALL)
    page, count = pattern.subn(lambda found: f"{found[1]}\n{text}\n{found[2]}", page)
    if count != 1:
        raise ValueError(
            f"benchmark.md must hold `<!-- table: {key} -->` once. It does {count} times"
        )
    return page


if __name__ == "__main__":
    main()
