"""Attacks on all that is promised to survive: too many for the suite.

python -m tests.attacks.long_run [--seed=0] [--seconds=600] [--kills=200] [--disks=200]
    [--damages=100] [--strangers=50] [--folders=60] [--files=60]

Every kind ends after its share of the time, however many tries there were. Prints a table, and
what did not survive. Ends with status 1 if anything did not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import traceback
from pathlib import Path

_COUNTS = {
    "kills": 200,
    "disks": 200,
    "damages": 100,
    "strangers": 50,
    "folders": 60,
    "files": 60,
}
_SHARES = 7  # kinds; damaged files take the time that two of them have


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600.0, help="for all of them")
    for name, count in _COUNTS.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    given = parser.parse_args()

    from tests.attacks import images, malicious, searches, tally, workdirs
    from tests.small_run import write_inputs

    share = given.seconds / _SHARES
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)

        def run(attack, count, *more, seconds=share):
            place = root / f"{attack.__module__}.{attack.__name__}" / "own"
            place.mkdir(parents=True)
            with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
                try:
                    found = attack(count, given.seed, seconds, place, *more)
                except Exception:  # the attack itself, not a try
                    found = tally.Tally(attack.__name__, count, seconds, tries=1)
                    found.wrong.append(traceback.format_exc())
            rows.append(found)
            print(tally.table([found]).splitlines()[-1], *found.wrong, sep="\n  ", flush=True)

        rows = []
        # Processes are forked first, before this one uses threads of gRPC's.
        run(workdirs.kills, given.kills // 4)
        run(searches.kills, given.kills // 2)
        run(workdirs.full_disk, given.disks)
        run(malicious.made_to_harm, given.files)
        run(images.folders, given.folders)
        if given.strangers:
            run(searches.strangers, given.strangers)
        if given.damages:
            inputs = root / "inputs"
            inputs.mkdir()
            write_inputs(inputs)
            run(workdirs.damaged, given.damages, inputs, seconds=2 * share)
    print(tally.table(rows))
    sys.exit(any(row.wrong or row.survived < row.tries for row in rows))


if __name__ == "__main__":
    main()
