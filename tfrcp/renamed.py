"""Module names of before the rooms moved: they still import, with a warning, for one release."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

# The longest name that fits counts.
RENAMED = {
    "tfrcp.benchmark": "tfrcp.studies",
    "tfrcp.benchmark.allocations.layers": "tfrcp.allocation.kernels",
    "tfrcp.budget": "tfrcp.space.budget",
    "tfrcp.cost": "tfrcp.space.cost",
    "tfrcp.evaluation": "tfrcp.scoring.evaluator",
    "tfrcp.inheritance": "tfrcp.graph.inheritance",
    "tfrcp.latency": "tfrcp.deployment.latency",
    "tfrcp.latency_model": "tfrcp.deployment.latency_model",
    "tfrcp.losses": "tfrcp.scoring.losses",
    "tfrcp.pipeline": "tfrcp.run",
    "tfrcp.pipeline.run": "tfrcp.run.context",
    "tfrcp.report": "tfrcp.run.report",
    "tfrcp.rounding": "tfrcp.deployment.rounding",
    "tfrcp.run.report.units": "tfrcp.units",
    "tfrcp.runtimes": "tfrcp.deployment.runtimes",
    "tfrcp.search.repair": "tfrcp.search.winner",
    "tfrcp.search.samplers": "tfrcp.space.sampling",
    "tfrcp.search.scores": "tfrcp.search.stored_scores",
    "tfrcp.update": "tfrcp.reconstruction",
    "tfrcp.workdir": "tfrcp.run.workdir",
}


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a renamed module under its old name: the very same module object."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A spec for old names; `None` for all others."""
        if new_name(fullname) is None:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """The module under its new name."""
        new = new_name(spec.name)
        warnings.warn(f"{spec.name} is now {new}", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(new)
        spec.loader_state = {k: getattr(module, k, None) for k in ("__spec__", "__loader__")}
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Does nothing: it was executed under its new name."""
        old: Any = module.__spec__
        for name, value in old.loader_state.items():
            setattr(module, name, value)
        module.__name__ = module.__spec__.name
        sys.modules[old.name] = module


def new_name(old: str) -> str | None:
    """The new name of a module, `None` if it has no other."""
    parts = old.split(".")
    for end in range(len(parts), 1, -1):
        if new := RENAMED.get(".".join(parts[:end])):
            return ".".join([new, *parts[end:]])
    return None


if not any(type(finder).__name__ == _Finder.__name__ for finder in sys.meta_path):
    sys.meta_path.append(_Finder())
