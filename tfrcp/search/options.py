"""Which options a search takes; wrong ones are named, with the nearest right one."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

_NO_OPTIONS = ("self", "model", "oracle", "hypermodel", "cost", "starts", "max_draws")


def options_of(kind: type) -> set[str]:
    """Names of the options that a search takes, those of its oracle and its sampler included."""
    oracle = kind.oracle_class
    sampler = getattr(oracle, "sampler_class", object)
    found = _parameters(sampler)
    for owner, last in ((kind, "ChannelSearch"), (oracle, "ChannelOracle")):
        for cls in owner.__mro__:
            if "__init__" in vars(cls):
                found |= _parameters(cls)
            if cls.__name__ == last:
                break
    return (found - set(_NO_OPTIONS)) | {"space"}


def _parameters(cls: type) -> set[str]:
    parameters = inspect.signature(cls.__init__).parameters.values()
    return {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def check_options(
    caller: str,
    options: Iterable[str],
    kind: type,
    others: Mapping[str, type] | None = None,
    own: Iterable[str] = (),
) -> None:
    """Refuses options that a search does not take.

    Args:
        caller: What was called, such as "tfrcp.prune".
        options: Names of what it was given.
        kind: The class of the search.
        others: Other searches by name, one of which may take the option.
        own: Further names that the caller takes.

    Raises:
        TypeError: If there is one, with what would do.
    """
    taken = options_of(kind)
    for name in options:
        if name in taken:
            continue
        owners = [search for search, other in (others or {}).items() if name in options_of(other)]
        if owners:
            raise TypeError(
                f"`{name}` of {caller} is an option of search={' or '.join(map(repr, owners))}. "
                f"Received it for {kind.__name__}"
            )
        known = sorted(taken | set(own))
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean `{near[0]}`?" if near else f"The options are {', '.join(known)}."
        raise TypeError(f"{caller} has no option `{name}`. {hint}")


def parameters_of(function: Any) -> set[str]:
    """Names of the keyword arguments of a function."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}


def given(values: Mapping[str, Any], function: Any, names: Iterable[str]) -> dict[str, Any]:
    """Those arguments of a call that differ from their defaults.

    Args:
        values: The arguments, such as `locals()`.
        function: What was called.
        names: The names to look at.
    """
    defaults = {p.name: p.default for p in inspect.signature(function).parameters.values()}
    return {
        name: values[name]
        for name in names
        if type(values[name]) is not type(defaults[name]) or values[name] != defaults[name]
    }
