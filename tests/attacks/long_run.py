"""Attacks on all that is promised to survive: too many for the suite.

python -m tests.attacks.long_run [--seed=0] [--seconds=600] [--only=KIND,KIND] [--KIND=TRIES]
    [--results=FOLDER]

Every kind, see `ATTACKS`, ends after its share of the time, however many tries there were. With
--results the tries so far are kept in a folder, and the same command goes on after them. Prints a
table, and what did not survive. Ends with status 1 if anything did not.
"""

from __future__ import annotations

import argparse
import contextlib
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
    "oddities": ("jobs", "oddities", "absurd value, or something else in a file's place", 60),
    "pairs": ("jobs", "pairs", "two commands on one folder at a time", 21),
    "limits": ("jobs", "limits", "a limit of bytes of a file, as where the disk is full", 40),
    "launches": ("jobs", "launches", "kill, SIGTERM or Ctrl-C of `tfrcp launch`", 10),
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
    parser.add_argument("--results", type=Path, help="folder for the tries so far")
    for name, (*_, count) in ATTACKS.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    given = parser.parse_args()
    chosen = given.only.split(",") if given.only else list(ATTACKS)
    if unknown := set(chosen) - set(ATTACKS):
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}")

    from tests.attacks.tally import Tally, table

    with tempfile.TemporaryDirectory() as temporary:
        results = given.results or Path(temporary)
        results.mkdir(parents=True, exist_ok=True)
        for name in chosen:
            module, function, title, _ = ATTACKS[name]
            tally = Tally.of(title, results / f"{name}.json")
            tally.most, tally.seconds = getattr(given, name), given.seconds / len(chosen)
            _forked(module, function, tally, given.seed)
            tally = Tally.of(title, results / f"{name}.json")
            print(table([tally]).splitlines()[-1], *tally.wrong, sep="\n  ", flush=True)
        files = {name: results / f"{name}.json" for name in ATTACKS}
        rows = [Tally.of(ATTACKS[name][2], file) for name, file in files.items() if file.exists()]
    print(table(rows))
    sys.exit(any(row.wrong or row.survived < row.tries for row in rows))


def _forked(module, function, tally, seed):
    """Runs an attack in a process of its own: what one does to TensorFlow harms no other."""
    import importlib

    attack = getattr(importlib.import_module(f"tests.attacks.{module}"), function)
    process = os.fork()
    if process:
        os.waitpid(process, 0)
        return
    with contextlib.suppress(BaseException), tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "deep", "own")
        place.mkdir(parents=True)
        with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
            try:
                if tally.tries < tally.most:
                    attack(tally, seed, place)
            except Exception:  # the attack itself, not a try
                tally.tries += 1
                tally.wrong.append(traceback.format_exc())
        tally.keep()
    os._exit(0)


if __name__ == "__main__":
    main()
