"""Writes results.jsonl and results.csv."""

from __future__ import annotations
import json
from tfrcp.benchmark import tables
from tfrcp.benchmark.store import write as write_text


def write(workdir, grid, results, facts):
    for study in grid.studies.values():
        for r in tables.rows(grid, study, results):
            if r.test:
                print(
                    study.name,
                    r.setting,
                    f"{r.test.mean:.4f} ± {r.test.deviation:.4f}",
                    r.difference
                    and f"{r.difference.mean:+.4f} [{r.difference.low:+.4f},{r.difference.high:+.4f}]",
                    r.before.mean,
                    r.failures,
                )
            elif r.failures:
                print(study.name, r.setting, r.failures)
    print(tables.pool(grid.studies["samples"], results))
    return workdir
