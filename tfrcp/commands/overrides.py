"""Arguments that ml_collections cannot set: `None`, lists of names, options, fields of old names.

Flags of the form --config.FIELD=VALUE go to ml_collections, which knows the types of fields. These
are taken out of the command line before, and applied to the configuration after it was read.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

_RENAMED = {"search.update": "search.reconstruction"}  # `update` is a method of configurations
_OPTIONS = ("model.options", "data.options")  # arguments of a function, whatever it takes
_NAMES = ("search.fixed", "search.tied", "devices", "export.format")  # joined by commas
_OWN_NONE = ("strategy", "search.reconstruction")  # where "none" is a value
_OPTIONAL = (
    "search.params",
    "search.activations",
    "search.latency",
    "data.data_dir",
    "data.on_error",
    "data.scale",
)
_PATHS = ("config", "workdir", "model", "channels", "out", "folder", "data_dir", "manual_dir")

Overrides = dict[str, str]


def split(arguments: Sequence[str]) -> tuple[list[str], Overrides]:
    """Takes these arguments out of a command line.

    Args:
        arguments: The command line, without the name of the program.

    Returns:
        Tuple of the arguments that are left, with ~ expanded where they are paths, and what was
        taken out: values as text by field.
    """
    left: list[str] = []
    found: Overrides = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.lstrip("-").partition("=")
        if argument == "--" or not argument.startswith("-"):
            left.append(argument)
            continue
        field = name.removeprefix("config.") if name.startswith("config.") else None
        field = _RENAMED.get(field, field)
        takes = field is not None or name in _PATHS
        if takes and not equals and rest and not rest[0].startswith("--"):
            value, equals = rest.pop(0), "="
        if field is None:
            path = os.path.expanduser(value) if name in _PATHS else value
            left.append(f"--{name}={path}" if takes and equals else argument)
        elif equals and _is_ours(field, value):
            found.pop(field, None)  # the last one counts
            found[field] = value
        else:
            found.pop(field, None)
            left.append(f"--config.{field}{equals}{value}")
    return left, found


def _is_ours(field: str, value: str) -> bool:
    if _is_option(field):
        return True
    if value in ("None", "none"):
        return field not in _OWN_NONE
    return field in _NAMES and value[:1] not in ("(", "[", "'", '"')


def _is_option(field: str) -> bool:
    return field.startswith(tuple(f"{options}." for options in _OPTIONS))


def apply(config: ConfigDict, overrides: Overrides) -> None:
    """Sets the fields of a configuration, in place.

    Raises:
        AttributeError: There is no such field; says which is like it.
        ValueError: A field cannot be `None`.
    """
    for field, text in overrides.items():
        *parents, last = field.split(".")
        part = config
        for name in parents:
            part = getattr(part, name)
        if _is_option(field):
            with part.unlocked():
                part[last] = _literal(text)
            continue
        before = getattr(part, last)  # tells which field is meant, if there is none
        if field in _OPTIONS and text in ("None", "none"):  # those of the file do not apply
            with part.unlocked():
                part[last] = ConfigDict()
        elif text in ("None", "none"):
            part[last] = _nothing(field, last, before)
        else:
            part[last] = tuple(name.strip() for name in text.split(",") if name.strip())


def _nothing(field: str, name: str, before: Any) -> Any:
    """What stands for nothing in a field."""
    if before is None or field in _OPTIONAL or name == "augment":
        return None
    if isinstance(before, str):
        return ""
    if isinstance(before, tuple | list):
        return ()
    if field == "search.flops":
        return 0.0  # the budget is of something else
    kind = "true or false" if isinstance(before, bool) else "a number"
    raise ValueError(f"--config.{field} must be {kind}. Received: None")


def _literal(text: str) -> Any:
    """A value of any type, written as in Python; what is not is text."""
    if text in ("true", "false", "none"):
        text = text.capitalize()
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return text if isinstance(value, bytes | set | complex) else value
