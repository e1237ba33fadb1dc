"""Cases of a test of which some run every time, and the others at night (`-m nightly`)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

nightly = pytest.mark.nightly


def mostly_nightly(cases: Iterable[str], *always: str) -> list:
    """The cases, all but some of them marked.

    Raises:
        ValueError: If one that is always to run is no case.
    """
    cases = list(cases)
    if unknown := {*always} - {*cases}:
        raise ValueError(f"no such cases: {unknown}")
    return [case if case in always else pytest.param(case, marks=nightly) for case in cases]
