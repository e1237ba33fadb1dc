"""Compares criteria and allocations under one regime: the studies F1, F2, F4 and sample size.

tfrcp study --config=benchmark_digits [--study=all] [--workdir=DIR]
    [--config.FIELD=VALUE]

Makes results.jsonl (the cells), results.csv, results.md and report.html. It may be killed and
started again, and several processes or machines may run the same command on one --workdir: they
share the work. With config.benchmark.bases above 1 the folder holds one of each base.

tfrcp study --config=benchmark_digits --bases=DIR,DIR[,...] --workdir=DIR

Runs nothing, and writes one report of folders that differ in their base alone (--config.seed): the
base is a random effect.
"""

from __future__ import annotations

from absl import flags

from tfrcp.commands import base

STUDIES = ("criteria", "search", "epochs", "samples", "all")


def run() -> None:
    """Defines the flags and runs the command."""
    config = base.define_config()
    study = flags.DEFINE_enum("study", "all", STUDIES, "What to run.")

    bases = flags.DEFINE_list("bases", None, "Folders whose results are pooled.")

    def main() -> None:
        from tfrcp.studies import Benchmark, pooling

        settings = config.value
        if bases.value:
            folder = base.workdir(f"{settings.name}_bases")
            print(f"report: {pooling.pool(settings.to_dict(), bases.value, folder)}")
            return
        if settings.benchmark.bases > 1:
            pooling.run(settings.to_dict(), base.workdir(settings.name), study.value)
            return
        Benchmark(settings.to_dict(), base.workdir(settings.name)).run(study.value)

    base.run(main, "config", "study", "bases", "workdir")
