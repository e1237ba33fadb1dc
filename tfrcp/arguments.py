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


def check_number(name: str, value: Any, interval: str) -> None:
    """Raises a ValueError unless `value` is a number in an interval, such as "(0, 1]"."""
    low, high = map(float, interval[1:-1].split(","))
    ends = (low,) * (interval[0] == "[") + (high,) * (interval[-1] == "]")
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and (low < value < high or value in ends)):
        raise ValueError(f"`{name}` must be a number in {interval}. Received: {name}={value!r}")


def check_choice(name: str, value: Any, known: Iterable[Any]) -> None:
    """Raises a ValueError unless `value` is among those known."""
    known = list(known)
    if value not in known:
        raise ValueError(f"`{name}` must be one of {known}. Received: {name}={value!r}")
