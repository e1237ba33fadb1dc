"""The folder of a search: the user's, or a temporary one that survives an error."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def folder_of(directory: str | os.PathLike[str] | None) -> Iterator[str]:
    """The folder of a search; a temporary one is removed when all went well, and else named.

    Args:
        directory: The user's folder, or `None` for a temporary one.
    """
    if directory is not None:
        yield os.path.expanduser(directory)
        return
    temporary = tempfile.mkdtemp(prefix="tfrcp_")
    try:
        yield temporary
    except BaseException as error:
        if any(Path(temporary).glob("*/trial_*")):
            note = (
                f"The trials so far are kept in {temporary}: directory={temporary!r} resumes there."
            )
            error.add_note(note)
            print(note, file=sys.stderr, flush=True)  # where only the error's own line is shown
        else:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(temporary, ignore_errors=True)
