"""What workers report, checked against what they were handed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import grpc
from keras_tuner.src.engine import trial as trial_module

from tfrcp.search.access import Refused, clean

NOTE = "tfrcp/note"
"""A value beside the hyperparameters: what keras-tuner does not transmit."""

_MOST = 1000  # hyperparameters or metrics in a message
_LONGEST = 500  # characters of their names
_ROUNDING = 1e-6
_ENDS = (
    trial_module.TrialStatus.COMPLETED,
    trial_module.TrialStatus.FAILED,
    trial_module.TrialStatus.INVALID,
)


def known(oracle: Any, trial_id: str) -> Any:
    """The trial of an id.

    Raises:
        Refused: If there is none.
    """
    if trial_id not in oracle.trials:
        raise Refused(grpc.StatusCode.NOT_FOUND, f"There is no trial {str(trial_id)[:80]!r}.")
    return oracle.trials[trial_id]


def holds(oracle: Any, worker: str, trial_id: str) -> bool:
    """Whether a worker is running a trial; after a restart the chief knows only that one is."""
    holders = [name for name, trial in oracle.ongoing_trials.items() if trial.trial_id == trial_id]
    return any(name == worker or name == f"the worker of trial {trial_id}" for name in holders)


def check_metrics(oracle: Any, metrics: Mapping[str, float]) -> None:
    """Refuses scores that cannot be; those that are not finite are the oracle's affair.

    Raises:
        Refused: If there are any, or names beyond measure.
    """
    if len(metrics) > _MOST or any(len(name) > _LONGEST for name in metrics):
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "There are too many metrics.")
    name = oracle.objective.name
    value = metrics.get(name)
    if value is None or not math.isfinite(value):
        return
    share, least = name.endswith("accuracy"), 0.0 if name.endswith("accuracy") else -math.inf
    most = 1.0 if share or name == "agreement" else math.inf
    if not least - _ROUNDING <= value <= most + _ROUNDING:
        raise Refused(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"The score {name}={value!r} is out of range: it lies in [{least:g}, {most:g}].",
        )


def check_end(oracle: Any, trial: Any, note: Mapping[str, Any]) -> None:
    """Refuses the end of a trial that is not the one that was handed out, or has no score.

    Raises:
        Refused: If anything is wrong.
    """
    stored, bad = known(oracle, trial.trial_id), grpc.StatusCode.INVALID_ARGUMENT
    if trial.status not in _ENDS:
        raise Refused(bad, f"The trial {trial.trial_id} does not end as {trial.status!r}.")
    for name, value in stored.hyperparameters.values.items():
        if trial.hyperparameters.values.get(name) != value:
            raise Refused(
                bad,
                f"The trial {trial.trial_id} was handed out with {name}={value!r}, and came back "
                f"with {str(trial.hyperparameters.values.get(name))[:80]}.",
            )
    if len(trial.hyperparameters.values) > _MOST + len(stored.hyperparameters.values):
        raise Refused(bad, f"The trial {trial.trial_id} has too many hyperparameters.")
    check_metrics(oracle, note["metrics"])
    completed = trial.status == trial_module.TrialStatus.COMPLETED
    scored = oracle.objective.name in note["metrics"] or stored.metrics.exists(
        oracle.objective.name
    )
    if completed and not scored:
        raise Refused(bad, f"The trial {trial.trial_id} came back without a score.")


def check_space(oracle: Any, space: Any) -> None:
    """Refuses hyperparameters that change those of the search, or are too many.

    Raises:
        Refused: If there are such.
    """
    bad = grpc.StatusCode.INVALID_ARGUMENT
    ours = {entry.name: entry.get_config() for entry in oracle.get_space().space}
    for entry in space.space:
        if entry.name in ours and entry.get_config() != ours[entry.name]:
            raise Refused(bad, f"The hyperparameter {entry.name[:80]!r} is another one here.")
    if len(space.space) > len(ours) + _MOST or any(len(n.name) > _LONGEST for n in space.space):
        raise Refused(bad, "There are too many hyperparameters.")


def parse_note(text: str) -> dict[str, Any]:
    """What a worker noted about a trial: `message`, `metrics` with `step`, `failure`.

    Raises:
        Refused: If it is no such note.
    """
    try:
        note = json.loads(text)
        metrics = dict(note.get("metrics") or {})
        step = int(metrics.pop("step", 0))
        metrics = {str(name): float(value) for name, value in metrics.items()}
        texts = [note.get(key) for key in ("message", "failure")]
        sound = all(isinstance(t, str | None) for t in texts) and 0 <= step < 2**31
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        sound = False
    if not sound:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "The note about a trial cannot be read.")
    return {"message": texts[0], "failure": texts[1], "metrics": metrics, "step": step}


def note_of(trial: Any) -> dict[str, Any]:
    """Takes what a worker noted about a trial: its message, its exact metrics, a failure."""
    note = json.loads(trial.hyperparameters.values.pop(NOTE, "{}"))
    trial.message = clean(trial.message)
    return {**note, **{key: clean(note.get(key)) for key in ("message", "failure")}}
