"""What an objective is made of, in plain values: two of one name need not be the same."""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Mapping
from typing import Any

import keras

from tfrcp.scoring.kinds import Agreement, CompiledLoss, CompiledMetric, Objective
from tfrcp.scoring.traits import overrides_loss

_PARTS = ("loss", "loss_weights", "metrics", "weighted_metrics")


def identity(model: keras.Model, objective: Objective) -> dict[str, Any]:
    """What an objective depends on besides the data.

    Returns:
        Nested dict of plain values: the kind and direction of the objective, what the model is
        compiled with where that counts, and of functions their name and a digest of their code.
    """
    found = {"kind": type(objective).__name__, "direction": objective.direction}
    if isinstance(objective, CompiledLoss | CompiledMetric):
        config = getattr(model, "_compile_config", None)
        parts = ("loss", "loss_weights") if isinstance(objective, CompiledLoss) else _PARTS[2:]
        given = {} if config is None else config.config
        found["compiled"] = {part: describe(given.get(part)) for part in parts if given.get(part)}
        if overrides_loss(model):
            found["compute_loss"] = describe(type(model).compute_loss)
    elif not isinstance(objective, Agreement):
        found.update(
            {
                name.strip("_"): describe(value)
                for name, value in vars(objective).items()
                if name in ("_metric", "_function", "_threshold", "_weighted")
            }
        )
    return found


def describe(given: Any) -> Any:
    """A loss, metric or function, or a structure of them, in plain values."""
    if given is None or isinstance(given, bool | int | float | str):
        return given
    if isinstance(given, Mapping):
        return {str(name): describe(value) for name, value in sorted(given.items(), key=str)}
    if isinstance(given, list | tuple):
        return [describe(value) for value in given]
    if isinstance(given, functools.partial):
        return {"partial": describe([given.func, given.args, given.keywords])}
    if isinstance(given, types.MethodType):
        return {"method": describe(given.__func__), "of": describe(given.__self__)}
    if isinstance(given, types.FunctionType):
        return {"function": given.__qualname__, "code": _digest(given)}
    kind = type(given)
    found: dict[str, Any] = {"class": f"{kind.__module__}.{kind.__qualname__}"}
    try:
        config = keras.saving.serialize_keras_object(given)["config"]
    except Exception:  # whatever an object of the user's does that cannot be written down
        return found
    if isinstance(config, Mapping):
        # Keras numbers names within a process.
        found["config"] = _plain({name: v for name, v in config.items() if name != "name"})
    return found


def _digest(function: types.FunctionType) -> str:
    """Of the code of a function, its defaults and the plain values that it closes over."""
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    values = [*(function.__defaults__ or ()), *cells]
    plain = [value for value in values if isinstance(value, bool | int | float | str | tuple)]
    text = repr((_code(function.__code__), plain))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _code(code: types.CodeType) -> Any:
    """What a function does, without where it stands."""
    constants = [_code(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return code.co_code.hex(), constants, code.co_names, code.co_varnames


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _plain(value: Any) -> Any:
    """Nested plain values, by their text what is none."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return describe(value) if isinstance(value, types.FunctionType) else type(value).__name__
