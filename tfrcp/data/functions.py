"""Functions of the user's, named in a configuration."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any


def load_function(what: str, name: str) -> tuple[Callable[..., Any], Path]:
    """Finds a function by "package.module:function" or "path/to/file.py:function".

    Args:
        what: What it is for, such as "`config.data.factory`", for errors.
        name: Its name. Modules are looked for in the current folder, too.

    Returns:
        Tuple of the function and the file that its module was loaded from.

    Raises:
        ValueError: There is no such module or function, or its file cannot be run; says which.
    """
    where, colon, function = str(name).rpartition(":")
    if not (colon and where and function):
        raise ValueError(
            f"{what} must be 'package.module:function' or 'path/to/file.py:function'. "
            f"Received: {name!r}"
        )
    module = _from_file(what, name, where) if where.endswith(".py") else _by_name(what, name, where)
    call = getattr(module, function, None)
    if not callable(call):
        raise ValueError(
            f"{what} {name!r} must be a function. {module.__file__} has none of this name"
        )
    return call, Path(module.__file__ or "")


def _from_file(what: str, name: str, path: str) -> ModuleType:
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"{what} {name!r} must be in a file. There is none at {file}")
    spec = importlib.util.spec_from_file_location(f"tfrcp_own_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's file does
        raise ValueError(
            f"The file of {what} cannot be run: {file}: {type(error).__name__}: {error}"
        ) from error
    return module


def _by_name(what: str, name: str, module: str) -> ModuleType:
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{what} {name!r} cannot be imported: {error}. Modules are looked for in the current "
            "folder and in what is installed; a file is named by its path, 'path/to/file.py:name'"
        ) from error
    except Exception as error:  # whatever the user's module does
        raise ValueError(
            f"The module of {what} cannot be run: {module}: {type(error).__name__}: {error}"
        ) from error
