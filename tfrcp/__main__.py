"""`python -m tfrcp`, the same as the console command `tfrcp`."""

import sys
from pathlib import Path

if not __package__:  # run by its path: the package's parent instead of the package's folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tfrcp import cli  # noqa: E402

if __name__ == "__main__":
    cli.main()
