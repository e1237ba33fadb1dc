"""What the commands share: flags, and errors as one clear line.

Flags and configuration are checked before TensorFlow is imported, which takes seconds.
"""

from __future__ import annotations

import difflib
import logging as std_logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

import tfrcp.configs
from tfrcp.commands import overrides, signals

SHIPPED = Path(next(iter(tfrcp.configs.__path__)))
"""Folder of the configurations that come with tfrcp."""


def define_config() -> flags.FlagHolder:
    """Defines --config, an experiment, and --workdir."""
    flags.DEFINE_string("workdir", None, "Folder of the run. Defaults to runs/NAME.")
    described = "Experiment: a file, or the name of one that comes with tfrcp."
    return config_flags.DEFINE_config_file("config", None, described)


def workdir(name: str) -> str:
    """The folder of a run: that of --workdir, or by the name of its experiment."""
    return flags.FLAGS.workdir or f"runs/{name}"


def names() -> list[str]:
    """Names of the configurations that come with tfrcp."""
    bases = ("__init__", "default", "scratch")
    return sorted(file.stem for file in SHIPPED.glob("*.py") if file.stem not in bases)


def run(main: Callable[[], None], *flag_names: str, needs_file: bool = True) -> None:
    """Runs a function of no arguments; user errors end in one line.

    It reads the flags that are named, the first of which must be a file where one is needed.

    The exit status is 1 for what is wrong with the input, 2 for the flags; after Ctrl-C, SIGTERM
    and where nobody reads the output any more it is that of the signal: 130, 143, 141.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.argv[1:], fields = overrides.split(sys.argv[1:])
    for name in flag_names:
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])

    def parse(arguments: Sequence[str]) -> None:
        try:
            if needs_file:
                arguments = _with_file(arguments, flag_names[0])
                sys.argv[:] = arguments  # where ml_collections looks for fields
            unexpected = flags.FLAGS(arguments)[1:]
            if unexpected:
                raise ValueError(f"unexpected arguments: {' '.join(unexpected)}")
            if needs_file and flags.FLAGS[flag_names[0]].value is None:
                raise ValueError(f"--{flag_names[0]} must be given; see --help")
            if fields:
                overrides.apply(flags.FLAGS["config"].value, fields)
        except Exception as error:  # whatever a file that is no configuration leads to
            text = _plain(error)
            if isinstance(error, AttributeError | KeyError) and "get_config" not in text:
                text = "unknown field " + text.replace("'", "").replace(" Did you", ". Did you")
            _stop(error, text, 2)

    def guarded(_: None) -> None:
        logging.set_verbosity(logging.WARNING)
        # It warns of functions that are traced often: several networks are evaluated here.
        std_logging.getLogger("tensorflow").setLevel("ERROR")
        try:
            with signals.heard():
                main()
            sys.stdout.flush()
        except BrokenPipeError:
            leave_pipe()
        except (ValueError, OSError, ImportError, ArithmeticError, RuntimeError) as error:
            _stop(error, str(error), 1)
        except MemoryError as error:
            _stop(error, f"the memory does not suffice: {error}", 1)
        except KeyboardInterrupt:
            signals.leave_if_asked()
            signals.leave(signal.SIGINT)
        except Exception as error:
            signals.leave_if_asked()
            if not type(error).__module__.startswith("tensorflow"):
                raise
            _stop(error, f"TensorFlow: {_plain(error)[:400]}", 1)

    _check_streams()
    app.run(guarded, flags_parser=parse)


def leave_pipe() -> None:
    """Ends the process where nobody reads its output any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's own flush
    sys.exit(128 + signal.SIGPIPE)


def _check_streams() -> None:
    """Makes sure that something can be printed, whatever the terminal and the locale."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # it was closed
            setattr(sys, name, open(os.devnull, "w", errors="replace"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _stop(error: Exception, message: str, status: int) -> None:
    """Ends the process with a message; raises the error instead if TFRCP_DEBUG is set."""
    signals.leave_if_asked()
    if os.environ.get("TFRCP_DEBUG"):
        raise error
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)


def _plain(error: Exception) -> str:
    """The message of an error in one line."""
    text = str(error).replace("\\n", "\n").replace("\\'", "")
    if "Traceback (most recent call last)" in text:  # of what a configuration's file does
        text = f"{text.split(':', 1)[0]}: {text.strip().splitlines()[-1]}"
    return text.replace("\n", " ") or type(error).__name__


def _with_file(arguments: Sequence[str], flag: str) -> list[str]:
    """The arguments with the file of a flag in place of a name.

    Raises:
        ValueError: If there is no such file.
    """
    given = list(arguments)
    for index, argument in enumerate(given):
        name, equals, value = argument.lstrip("-").partition("=")
        if name != flag or not argument.startswith("-"):
            continue
        if equals:
            given[index] = f"--{flag}={_file(flag, value)}"
        elif index + 1 < len(given):
            given[index + 1] = _file(flag, given[index + 1])
        else:
            _file(flag, "")
    return given


def _file(flag: str, value: str) -> str:
    """The file of a flag: a path, or a configuration's name; what follows a colon stays."""
    path, colon, argument = value.partition(":")
    file, known, hint = os.path.expanduser(path), "", ""
    if flag == "config":
        shipped = SHIPPED / f"{path.removesuffix('.py')}.py"
        if not os.path.isfile(file) and os.path.basename(path) == path and shipped.is_file():
            file = str(shipped)
        known = f", or one of {', '.join(names())}"
        near = difflib.get_close_matches(path.removesuffix(".py"), names(), 1)
        hint = f". Did you mean {near[0]!r}?" if near else ""
    if not os.path.isfile(file):
        raise ValueError(
            f"--{flag} must be a file{known}. Received: {path!r}, which is missing{hint}"
        )
    return f"{file}{colon}{argument}"
