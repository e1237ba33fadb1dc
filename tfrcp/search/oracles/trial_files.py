"""The trials of a search on the disk: a folder and a file for each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from keras_tuner.engine import trial as trial_module

from tfrcp import files

_FILE = "trial.json"


def write(project: Path, trial: trial_module.Trial) -> None:
    """Writes a trial in one step."""
    folder = project / f"trial_{trial.trial_id}"
    folder.mkdir(exist_ok=True)
    state = json.loads(json.dumps(trial.get_state()))
    sealed = {**state, "checksum": files.checksum(state)}
    files.write_text(folder / _FILE, json.dumps(sealed), durable=False)


def names(project: Path) -> dict[int, str]:
    """The trials that have a folder, maps their numbers to their ids."""
    found = [folder.name.removeprefix("trial_") for folder in project.glob("trial_*")]
    return {int(name): name for name in found if name.isdecimal()}


def read(project: Path, name: str, groups: Sequence[str]) -> trial_module.Trial | None:
    """A trial as it was written.

    Args:
        project: Folder of the search.
        name: The trial's id.
        groups: Names of the groups, each of which must have an int.

    Returns:
        The trial; `None` if it is missing, cannot be read, or is not what was written.
    """
    try:
        state = json.loads((project / f"trial_{name}" / _FILE).read_text())
        sound = files.is_as_written(state)
        trial = trial_module.Trial.from_state(state)
        counts = [trial.hyperparameters.values.get(group) for group in groups]
        completed = trial.status == trial_module.TrialStatus.COMPLETED
        sound = sound and trial.trial_id == name and all(isinstance(count, int) for count in counts)
        sound = sound and isinstance(trial.score, float if completed else object)
    except Exception:
        return None  # whatever a torn or foreign file leads to
    return trial if sound else None
