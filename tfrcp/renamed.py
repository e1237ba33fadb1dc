"""Module names of before the rooms moved: they still import, with a warning, for one release."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

# The longest name that fits counts.
RENAMED = {
    "tfrcp.benchmark": "tfrcp.studies",
    "tfrcp.benchmark.allocations.layers": "tfrcp.allocation.kernels",
    "tfrcp.blueprint": "tfrcp.search.architecture",
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
    "tfrcp.search.board": "tfrcp.search.tensorboard",
    "tfrcp.search.repair": "tfrcp.search.winner",
    "tfrcp.search.samplers": "tfrcp.space.sampling",
    "tfrcp.search.scores": "tfrcp.search.stored_scores",
    "tfrcp.studies.laboratory": "tfrcp.studies.experiment",
    "tfrcp.update": "tfrcp.reconstruction",
    "tfrcp.workdir": "tfrcp.run.workdir",
}

# Names inside renamed modules, by the modules' old names.
NAMES = {
    "tfrcp.blueprint": {"Blueprint": "ArchitectureSpec"},
    "tfrcp.search.board": {"Board": "TensorBoardLogger"},
    "tfrcp.studies.laboratory": {"Laboratory": "Experiment"},
}

# Names that moved to another module, by the module that they were in.
MOVED = {
    "tfrcp.search.tuner": {
        "EvolutionaryChannelSearch": "tfrcp.search.variants",
        "RECONSTRUCTIONS": "tfrcp.search.scorer",
        "RandomChannelSearch": "tfrcp.search.variants",
        "SurrogateChannelSearch": "tfrcp.search.variants",
    },
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
        for name, new in NAMES.get(old.name, {}).items():
            setattr(module, name, getattr(module, new))
        sys.modules[old.name] = module


def new_name(old: str) -> str | None:
    """The new name of a module, `None` if it has no other."""
    parts = old.split(".")
    for end in range(len(parts), 1, -1):
        if new := RENAMED.get(".".join(parts[:end])):
            return ".".join([new, *parts[end:]])
    return None


def moved(module: str) -> Callable[[str], object]:
    """The `__getattr__` of a module of which names moved to others."""

    def find(name: str) -> object:
        new = MOVED[module].get(name)
        if new is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        message = f"{module}.{name} is now {new}.{name}"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(new), name)

    return find


def __getattr__(name: str) -> object:
    """Old public names of `tfrcp` itself."""
    if name == "Blueprint":
        warnings.warn(
            "tfrcp.Blueprint is now tfrcp.ArchitectureSpec", DeprecationWarning, stacklevel=2
        )
        return importlib.import_module("tfrcp.search.architecture").ArchitectureSpec
    raise AttributeError(f"module 'tfrcp' has no attribute {name!r}")


if not any(type(finder).__name__ == _Finder.__name__ for finder in sys.meta_path):
    sys.meta_path.append(_Finder())
