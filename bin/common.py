"""What the binaries share: flags, and errors as one clear line.

Flags and configuration are checked before TensorFlow is imported, which takes seconds.
"""

import json
import logging as std_logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import overrides

# The repository's root instead of this folder: for the configurations' imports, and because the
# profile.py that stands here must not hide Python's own.
sys.path[0] = str(Path(__file__).resolve().parent.parent)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
ARGUMENTS = sys.argv[1:]  # as they were given
sys.argv[1:], _OVERRIDES = overrides.split(ARGUMENTS)

from absl import app, flags, logging  # noqa: E402
from ml_collections import config_flags  # noqa: E402

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run. Defaults to runs/NAME.")


def run_stage(stage: str, job: str = "Pipeline") -> None:
    """Defines the flags and runs one stage of a job in tfrcp.pipeline, or "prune" for all.

    The last line that is printed holds the figures of the stage as JSON.
    """
    config = config_flags.DEFINE_config_file("config", None, "Experiment: configs/NAME.py.")
    strategy = flags.DEFINE_string("strategy", None, "Short for --config.strategy.")
    devices = flags.DEFINE_list("devices", None, "Short for --config.devices: GPU:0,GPU:1.")

    def main() -> None:
        settings = config.value
        if strategy.value is not None:
            settings.strategy = strategy.value
        if devices.value is not None:
            settings.devices = tuple(devices.value)
        from tfrcp import run as jobs

        folder = _WORKDIR.value or f"runs/{settings.name}"
        pipeline = getattr(jobs, job)(settings.to_dict(), folder)
        getattr(pipeline, stage)()
        if not pipeline.is_worker:
            figures = pipeline.outcome(stage)
            print(json.dumps({**figures, "workdir": str(pipeline.workdir.path)}), flush=True)

    run(main, "config", "workdir", "strategy", "devices")


def run(main: Callable[[], None], *names: str, needs_file: bool = True) -> None:
    """Runs a function of no arguments; user errors end in one line.

    The exit status is 1 for what is wrong with the input, 2 for the flags; after Ctrl-C, SIGTERM
    and where nobody reads the output any more it is that of the signal: 130, 143, 141.

    Args:
        main: The function.
        *names: The flags that it reads, for --help.
        needs_file: Whether the first of them must be given, and be a file.
    """
    for name in names:
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])

    def parse(arguments: Sequence[str]) -> None:
        try:
            if needs_file:
                _check_file(arguments, names[0])
            unexpected = flags.FLAGS(arguments)[1:]
            if unexpected:
                raise ValueError(f"unexpected arguments: {' '.join(unexpected)}")
            if needs_file and flags.FLAGS[names[0]].value is None:
                raise ValueError(f"--{names[0]} must be given; --help tells more")
            if _OVERRIDES:
                overrides.apply(flags.FLAGS["config"].value, _OVERRIDES)
        except Exception as error:  # whatever a file that is no configuration leads to
            text = _plain(error)
            if isinstance(error, AttributeError | KeyError) and "get_config" not in text:
                text = "unknown field " + text.replace("'", "")
            _stop(error, text, 2)

    def guarded(_: None) -> None:
        logging.set_verbosity(logging.WARNING)
        # It warns of functions that are traced often: several networks are evaluated here.
        std_logging.getLogger("tensorflow").setLevel("ERROR")
        before = signal.signal(signal.SIGTERM, _terminate)
        try:
            main()
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's own flush
            sys.exit(128 + signal.SIGPIPE)
        except (ValueError, OSError, ImportError, ArithmeticError, RuntimeError) as error:
            _stop(error, str(error), 1)
        except MemoryError as error:
            _stop(error, f"the memory does not suffice: {error}", 1)
        except _Terminated:
            print("\nterminated; the same command goes on from here", file=sys.stderr)
            sys.exit(128 + signal.SIGTERM)
        except KeyboardInterrupt:
            print("\ninterrupted; the same command goes on from here", file=sys.stderr)
            sys.exit(128 + signal.SIGINT)
        except Exception as error:
            if not type(error).__module__.startswith("tensorflow"):
                raise
            _stop(error, f"TensorFlow: {_plain(error)[:400]}", 1)
        finally:
            signal.signal(signal.SIGTERM, before)

    _check_streams()
    app.run(guarded, flags_parser=parse)


class _Terminated(KeyboardInterrupt):
    """The process is asked to end."""


def _terminate(*_: Any) -> None:
    raise _Terminated


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
    if os.environ.get("TFRCP_DEBUG"):
        raise error
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)


def _plain(error: Exception) -> str:
    """The message of an error in one line."""
    text = str(error).replace("\\n", ". ").replace("\n", " ").replace("\\'", "")
    return text or type(error).__name__


def _check_file(arguments: Sequence[str], flag: str) -> None:
    """Refuses the file of a flag that is not there, before the flags are parsed."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = argument.lstrip("-").partition("=")
        if name == flag and argument.startswith("-"):
            path = (value if equals else following).split(":")[0]
            if not os.path.isfile(os.path.expanduser(path)):
                raise ValueError(f"--{flag} must be a file. Received: {path!r}, which is missing")
