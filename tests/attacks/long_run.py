"""Attacks on all that is promised to survive: too many for the suite.

python -m tests.attacks.long_run [--seed=0] [--seconds=600] [--only=KIND,KIND] [--KIND=TRIES]
    [--results=FILE]

Every kind, see `ATTACKS`, ends after its share of the time, however many tries there were. With
--results the tries so far are kept in a file, and the same command goes on after them. Prints a
table, and what did not survive. Ends with status 1 if anything did not.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

#: The attacks by name: module, function, title, and the number of tries.
ATTACKS = {
    "kills": ("workdirs", "kills", "stages that only write, killed four times in each try", 50),
    "jobs": ("jobs", "kills", "kill, SIGTERM or Ctrl-C of a command on a real job", 120),
    "processes": ("jobs", "processes", "kill of a process of `bin/*.py` or `tfrcp`", 40),
    "searches": ("searches", "kills", "kill of a chief or worker of a search", 100),
    "disks": ("workdirs", "full_disk", "full disk at a random moment", 200),
    "damages": ("jobs", "damages", "damaged file of a working folder", 100),
    "strangers": ("searches", "strangers", "stranger on the chief's port", 50),
    "folders": ("images", "folders", "folder of bad images", 60),
    "files": (
        *("malicious", "made_to_harm"),
        *("malicious or damaged `.keras`, `.npz`, `.h5`, `channels.json`", 60),
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600.0, help="for all of them")
    parser.add_argument("--only", help=f"some of {', '.join(ATTACKS)}")
    parser.add_argument("--results", type=Path, help="file of the tries so far")
    for name, (*_, count) in ATTACKS.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    given = parser.parse_args()
    chosen = given.only.split(",") if given.only else list(ATTACKS)
    if unknown := set(chosen) - set(ATTACKS):
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}")

    from tests.attacks import tally

    before = {}
    if given.results and given.results.exists():
        before = json.loads(given.results.read_text())
    for name in chosen:
        module, function, title, _ = ATTACKS[name]
        found = tally.Tally(**before[name]) if name in before else tally.Tally(title)
        wanted = getattr(given, name) - found.tries
        if wanted > 0:
            run = tally.Tally(title, wanted, given.seconds / len(chosen), found.tries)
            found.add(_forked(module, function, run, given.seed))
        before[name] = dataclasses.asdict(found)
        if given.results:
            given.results.write_text(json.dumps(before, indent=1))
        print(tally.table([found]).splitlines()[-1], *found.wrong, sep="\n  ", flush=True)
    rows = [tally.Tally(**before[name]) for name in ATTACKS if name in before]
    print(tally.table(rows))
    sys.exit(any(row.wrong or row.survived < row.tries for row in rows))


def _forked(module, function, run, seed):
    """Runs an attack in a process of its own: what one does to TensorFlow harms no other."""
    import importlib

    attack = getattr(importlib.import_module(f"tests.attacks.{module}"), function)
    with tempfile.TemporaryDirectory() as folder:
        place, result = Path(folder, "deep", "own"), Path(folder, "result.json")
        place.mkdir(parents=True)
        process = os.fork()
        if not process:
            with contextlib.suppress(BaseException):
                with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
                    try:
                        attack(run, seed, place)
                    except Exception:  # the attack itself, not a try
                        run.tries += 1
                        run.wrong.append(traceback.format_exc())
                result.write_text(json.dumps(dataclasses.asdict(run)))
            os._exit(0)
        os.waitpid(process, 0)
        return type(run)(**json.loads(result.read_text()))


if __name__ == "__main__":
    main()
