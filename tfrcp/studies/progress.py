"""Progress of units of work: what each came to, how long it took, and how long the rest will."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tfrcp.studies.store import Store, Work
from tfrcp.units import duration, percent


def run_with_progress(
    store: Store, kind: str, works: Mapping[str, Work]
) -> dict[str, dict[str, Any]]:
    """`store.run(works)`, with a line for each unit of work that is done here.

    Args:
        store: Where results are kept.
        kind: What the units are called.
        works: See `Store.run`.

    Returns:
        The results, in the order of `works`.
    """
    done = sum(store.is_complete(name) for name in works)
    if done < len(works):
        print(f"{kind}: {done} of {len(works)} done before", flush=True)
    start = last = time.perf_counter()
    own = 0

    def tell(name: str, result: dict[str, Any]) -> None:
        nonlocal last, own
        own, now = own + 1, time.perf_counter()
        count = sum(store.is_complete(name) for name in works)
        left = (now - start) / own * (len(works) - count)
        line = f"{kind} {count}/{len(works)}: {name}: {outcome(result)}, {now - last:.1f} s"
        print(line + (f", about {duration(left)} left" if left else ""), flush=True)
        last = now

    return store.run(works, tell)


def outcome(result: dict[str, Any]) -> str:
    """What a unit of work came to, in words."""
    if "error" in result:
        return result["error"]
    for name, text in (("test_accuracy", "test"), ("holdout_accuracy", "holdout")):
        if name in result:
            return f"{percent(result[name])} of the {text} images"
    return "done"
