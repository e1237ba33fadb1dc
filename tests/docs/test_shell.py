"""Every command that the pages print has the flags, fields, extras and files that it names."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, REPOSITORY, blocks, inline
from tfrcp.cli import COMMANDS

# Runs the console command up to where it has read its flags and fields.
PARSE = """
import sys
from absl import app
app.run = lambda main, flags_parser: flags_parser(sys.argv)
from tfrcp import cli
cli.main()
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


@pytest.mark.parametrize("given", COMMANDS_PRINTED, ids=" ".join)
def test_a_command_is_understood(given, tmp_path):
    assert given[0] in COMMANDS
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    for word in given:
        flag, _, value = word.partition("=")
        if flag in ("--model", "--channels"):
            (tmp_path / value).touch()
        if flag == "--config" and value == "mine.py":
            (tmp_path / value).write_text("from tfrcp.configs.digits_resnet20 import get_config\n")
    process = subprocess.run(
        [sys.executable, "-c", PARSE, *given],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY)},
    )
    assert process.returncode == 0, process.stderr


def test_commands_were_found():
    assert {given[0] for given in COMMANDS_PRINTED} >= {"prune", "profile", "study", "launch"}


def test_a_wrong_flag_would_be_found(tmp_path):
    with pytest.raises(AssertionError, match="max_trials"):
        test_a_command_is_understood(
            ("prune", "--config=digits_resnet20", "--config.search.max_trial=1"), tmp_path
        )


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
