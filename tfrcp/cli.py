"""The console command: `tfrcp COMMAND --config=NAME ...`; the binaries in bin/ run the same.

Nothing here imports Keras or TensorFlow, so that help and wrong flags are answered at once.
"""

from __future__ import annotations

import difflib
import importlib
import re
import sys

import tfrcp

COMMANDS = {
    "prune": "the whole job: train (or load), search, fine-tune, evaluate, export, report",
    "train": "the first stage: the network that is to be pruned",
    "search": "the second: the channels that each layer keeps",
    "finetune": "the third: training of what was found",
    "evaluate": "the fourth: before and after on the test images",
    "export": "the last: files for devices, each compared with the model",
    "profile": "what can be pruned in a saved model, and what it costs",
    "scratch": "without a trained network: supernet, search, training of the winner",
    "study": "criteria and searches under one protocol",
    "launch": "the search by several processes on this machine",
    "prepare-data": "makes a data set of TensorFlow Datasets, or of a folder of images",
}
"""What each command does, by its name."""

_STAGES = ("prune", "train", "search", "finetune", "evaluate", "export", "scratch")


def main() -> None:
    """The console command: runs the command that the first argument names."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help", "help", "-help"):
        try:
            print(_help(), flush=True)
        except BrokenPipeError:
            from tfrcp.commands import base

            base.leave_pipe()
    elif name == "--version":
        print(f"tfrcp {tfrcp.__version__}")
    elif name in COMMANDS:
        sys.argv[1:] = rest
        run(name, f"tfrcp {name}")
    else:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"It must be one of {', '.join(COMMANDS)}."
        print(f"error: unknown command {name!r}. {hint}", file=sys.stderr)
        sys.exit(2)


def run(name: str, program: str) -> None:
    """Runs a command on the arguments in `sys.argv`.

    Args:
        name: Its name, a key of `COMMANDS`.
        program: What it is called by, for its help: "tfrcp prune" or "python bin/prune.py".
    """
    if name in _STAGES:
        module = importlib.import_module("tfrcp.commands.stages")
        text, arguments = module.DESCRIPTIONS[name], [name]
    else:
        module = importlib.import_module(f"tfrcp.commands.{name.replace('-', '_')}")
        text, arguments = module.__doc__, []
    sys.argv[0] = program
    # Where absl finds what it prints for --help.
    sys.modules["__main__"].__doc__ = re.sub(rf"^tfrcp {name}\b", program, text, flags=re.M)
    module.run(*arguments)


def _help() -> str:
    """The text of `tfrcp --help`."""
    width = max(map(len, COMMANDS))
    lines = (f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    return "\n".join(
        [
            "Structured channel pruning for Keras 3.",
            "",
            "tfrcp COMMAND [--config=NAME|FILE] [--config.FIELD=VALUE] [--workdir=DIR]",
            "",
            *lines,
            "",
            "`tfrcp COMMAND --help` lists its flags. A first run, ten minutes on bundled images:",
            "",
            "  tfrcp prune --config=digits_resnet20 --workdir=runs/digits",
        ]
    )
