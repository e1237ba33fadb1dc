"""Every command that the pages print has the flags, fields, extras and files that it names."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, REPOSITORY, blocks, inline
from tfrcp.cli import COMMANDS

# Runs console commands up to where they have read their flags and fields, each in a fork.
PARSE = """
import json, os, sys
from absl import app
app.run = lambda main, flags_parser: flags_parser(sys.argv)
from tfrcp import cli
from tfrcp.commands import base
for words, folder in json.load(sys.stdin):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.chdir(folder)
        os.dup2(write, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv[1:] = words
        status = 1
        try:
            cli.main()
            status = 0
        except SystemExit as error:
            status = error.code or 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as errors:
        text = errors.read()
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text]), flush=True)
"""
PROGRAM = re.compile(r"(?:python |^)bin/(\w+)\.py|^tfrcp (\S+)|^python -m tfrcp (\S+)")
STANDS_FOR = {"NAME": "digits_resnet20", "DIR": "folder", "N": "2", "VALUE": "1"}
SHELL = ("bash", "sh", "console")
LANGUAGES = (*SHELL, "python", "bibtex", "text", "yaml", "dockerfile", "json", "diff", "")


def lines(text):
    """The commands of a block, continued lines as one."""
    text = re.sub(r"\\\n\s*", " ", text)
    return [line.split(" #")[0].strip() for line in text.splitlines() if line.strip()]


def printed():
    """Every line that may be a command: those of blocks, and what stands between backquotes."""
    for page in PAGES:
        for block in blocks(page):
            if block.language in SHELL:
                yield from ((page, line) for line in lines(block.text))
        yield from ((page, code) for code in inline(page))


def alternatives(line):
    """A command with options in brackets and a|b, as commands that can be given."""
    words = shlex.split(re.sub(r"\[(-[^]]*)\]", r"\1", line).replace("...", ""))
    choices = [
        [name + value for value in values.split("|")]
        for word in words
        for name, values in [re.fullmatch(r"(--[\w.]+=)?(.*)", word).groups(default="")]
    ]
    longest = max(map(len, choices))
    return [[choice[i % len(choice)] for choice in choices] for i in range(longest)]


def command(words):
    """Arguments of the console command: its name, and the flags with values for what is meant."""
    if words[0] == "python":
        words = words[3:] if words[1] == "-m" else words[1:]
    elif words[0] == "tfrcp":
        words = words[1:]
    name = re.sub(r"bin/(\w+)\.py", r"\1", words[0])
    name = "study" if name == "benchmark" else name.replace("_", "-")
    given = [name, *(_filled(word) for word in words[1:])]
    if name not in ("profile", "prepare-data") and not any("--config=" in w for w in given):
        given.append("--config=" + ("scratch_digits" if name == "scratch" else "digits_resnet20"))
    if name == "profile" and not any(word.startswith("--model") for word in given):
        given.append("--model=FILE.keras")
    return tuple(given)


def _filled(word):
    if word == "--config.FIELD=VALUE":
        return "--config.seed=1"
    flag, equals, value = word.partition("=")
    value = value.replace("configs/NAME.py", "digits_resnet20")
    return flag + equals + STANDS_FOR.get(value, value)


COMMANDS_PRINTED = sorted(
    {
        command(words)
        for _, line in printed()
        if PROGRAM.search(line) and "--" in line and "--help" not in line
        for words in alternatives(line)
    }
)


WRONG = ("prune", "--config=digits_resnet20", "--config.search.max_trial=1")


@pytest.fixture(scope="module")
def parsed(tmp_path_factory):
    """Exit status and errors of every command."""
    commands, folders = [*COMMANDS_PRINTED, WRONG], []
    for given in commands:
        folder = tmp_path_factory.mktemp("command")
        folders.append(str(folder))
        (folder / "configs").symlink_to(REPOSITORY / "configs")
        for word in given:
            flag, _, value = word.partition("=")
            if flag in ("--model", "--channels"):
                (folder / value).touch()
            if flag == "--config" and value == "mine.py":
                (folder / value).write_text(
                    "from tfrcp.configs.digits_resnet20 import get_config\n"
                )
    process = subprocess.run(
        [sys.executable, "-c", PARSE],
        input=json.dumps([*zip(commands, folders, strict=True)]),
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(REPOSITORY)},
    )
    found = map(json.loads, process.stdout.splitlines())
    return dict(zip(commands, found, strict=True))


@pytest.mark.parametrize("given", COMMANDS_PRINTED, ids=" ".join)
def test_a_command_is_understood(given, parsed):
    assert given[0] in COMMANDS
    status, errors = parsed[given]
    assert status == 0, errors


def test_commands_were_found():
    assert {given[0] for given in COMMANDS_PRINTED} >= {"prune", "profile", "study", "launch"}


def test_a_wrong_flag_would_be_found(parsed):
    status, errors = parsed[WRONG]
    assert status == 2 and "max_trials" in errors


def test_named_files_are_there():
    names = {
        name
        for _, line in printed()
        for name in re.findall(r"(?<![\w/])(?:bin|configs|examples|benchmarks|tests)/[\w/.]+", line)
        if "NAME" not in name
    }
    assert [name for name in sorted(names) if not (REPOSITORY / name).exists()] == []


def test_named_modules_are_there():
    for _, line in printed():
        for name in re.findall(r"python -m ((?:tests|benchmarks)[\w.]+)", line):
            assert (REPOSITORY / f"{name.replace('.', '/')}.py").is_file(), line


def test_named_extras_are_there():
    stated = (REPOSITORY / "setup.py").read_text()
    named = re.findall(r"""["'](?:tfrcp|\.)\[([\w,]+)\]["']""", "\n".join(c for _, c in printed()))
    for extra in itertools.chain(*(found.split(",") for found in named)):
        assert f'"{extra}":' in stated, extra


@pytest.mark.parametrize("page", PAGES)
def test_languages_are_known(page):
    assert {block.language for block in blocks(page)} <= {*LANGUAGES}


def test_pages_are_in_the_repository():
    assert "README.md" in PAGES and str(Path("docs/jobs.md")) in PAGES
