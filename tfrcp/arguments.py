"""Checks of arguments: one wording for each kind of mistake."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any


def check_int(name: str, value: Any, least: int) -> int:
    """Returns `value` as an int.

    Raises:
        ValueError: If it is not an int of at least `least`.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"`{name}` must be an int of at least {least}. Received: {name}={value!r}")
    return int(value)


def check_share(name: str, value: Any) -> float:
    """Returns `value` as a float.

    Raises:
        ValueError: If it is not a number in [0, 1].
    """
    if not isinstance(value, Real) or not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be a number in [0, 1]. Received: {name}={value!r}")
    return float(value)


def check_choice(name: str, value: Any, known: Iterable[Any]) -> None:
    """Raises a ValueError unless `value` is among those known."""
    known = list(known)
    if value not in known:
        raise ValueError(f"`{name}` must be one of {known}. Received: {name}={value!r}")
