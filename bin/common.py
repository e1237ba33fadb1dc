"""What the binaries share: flags, and errors as one clear line.

Flags and configuration are checked before TensorFlow is imported, which takes seconds.
"""

import os
import sys
from pathlib import Path

# The repository's root instead of this folder: for the configurations' imports, and because the
# profile.py that stands here must not hide Python's own.
sys.path[0] = str(Path(__file__).resolve().parent.parent)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# The small solves of least squares take many times as long when their threads and TensorFlow's
# wait for the same cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from absl import app, flags, logging  # noqa: E402
from ml_collections import config_flags  # noqa: E402

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run. Defaults to runs/NAME.")


def run_stage(stage: str) -> None:
    """Defines the flags and runs one stage of the pipeline, or "prune" for all."""
    config = config_flags.DEFINE_config_file("config", None, "Experiment: configs/NAME.py.")
    flags.mark_flag_as_required("config")

    def main() -> None:
        settings = config.value
        from tfrcp.pipeline import Pipeline

        pipeline = Pipeline(settings.to_dict(), _WORKDIR.value or f"runs/{settings.name}")
        getattr(pipeline, stage)()

    run(main)


def _check_config_file(arguments: list[str]) -> None:
    """Refuses a configuration file that is not there, before the flags are parsed."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = argument.lstrip("-").partition("=")
        if name == "config" and argument.startswith("-"):
            path = (value if equals else following).split(":")[0]
            if not os.path.isfile(path):
                print(f"error: --config must be a file. Missing: {path!r}", file=sys.stderr)
                sys.exit(2)


def run(main) -> None:
    """Runs a function of no arguments; user errors end in one line and exit status 1."""

    def guarded(arguments):
        if len(arguments) > 1:
            raise app.UsageError(f"Unexpected arguments: {' '.join(arguments[1:])}")
        logging.set_verbosity(logging.WARNING)
        try:
            main()
        except (ValueError, OSError, ImportError, FloatingPointError) as error:
            if os.environ.get("TFRCP_DEBUG"):
                raise
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        except KeyboardInterrupt:
            print("\ninterrupted; the same command goes on from here", file=sys.stderr)
            sys.exit(130)

    _check_config_file(sys.argv[1:])
    try:
        app.run(guarded)
    except (AttributeError, KeyError, SyntaxError, TypeError, ValueError) as error:
        # A flag that does not fit the configuration, or a file that is none.
        if os.environ.get("TFRCP_DEBUG"):
            raise
        unknown = isinstance(error, AttributeError | KeyError)
        text = str(error).replace("\\n", ". ").replace("\\'", "'").replace("'", "").strip('"')
        print(f"error: {'unknown field ' if unknown else ''}{text}", file=sys.stderr)
        sys.exit(2)
