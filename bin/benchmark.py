"""Compares criteria and allocations under one regime: the studies F1, F2, F4 and sample size.

python bin/benchmark.py --config=configs/benchmark_digits.py [--study=all] [--workdir=DIR]
    [--config.FIELD=VALUE]

Makes results.jsonl (the cells), results.csv, results.md and report.html. It may be killed and
started again, and several processes or machines may run the same command on one --workdir: they
share the work.
"""

import common
from absl import flags
from ml_collections import config_flags

_STUDIES = ("criteria", "search", "epochs", "samples", "all")
_STUDY = flags.DEFINE_enum("study", "all", _STUDIES, "What to run.")
_CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment: configs/benchmark_NAME.py.")
_WORKDIR = flags.FLAGS["workdir"]


def main() -> None:
    """Does what is left of the studies, and writes the report."""
    settings = _CONFIG.value
    from tfrcp.studies import Benchmark

    workdir = _WORKDIR.value or f"runs/{settings.name}"
    Benchmark(settings.to_dict(), workdir).run(_STUDY.value)


if __name__ == "__main__":
    common.run(main, "config", "study", "workdir")
