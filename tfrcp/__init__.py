"""tfrcp: structured channel pruning for Keras 3 by random search under a FLOP budget.

The public names are those of `tfrcp.api`. They are imported when the first of them is asked for,
so that the command `tfrcp` answers before Keras, which takes seconds, is there.
"""

import importlib
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

from tfrcp import renamed

if TYPE_CHECKING:
    from tfrcp.api import *  # noqa: F403

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """A module of the package, a public name, or a name of before."""
    if name.startswith("__") and name != "__all__":
        raise AttributeError(f"module 'tfrcp' has no attribute {name!r}")
    if PathFinder.find_spec(f"tfrcp.{name}", __path__):  # noqa: F405
        return importlib.import_module(f"tfrcp.{name}")
    api = importlib.import_module("tfrcp.api")
    if name != "__all__" and name not in api.__all__:
        return renamed.__getattr__(name)
    return globals().setdefault(name, getattr(api, name))


def __dir__() -> list[str]:
    """The public names, and what Python keeps of a module."""
    return sorted({*globals(), *importlib.import_module("tfrcp.api").__all__})
