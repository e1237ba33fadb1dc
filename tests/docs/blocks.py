"""The code that README.md and the pages of docs/ print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
PAGES = tuple(
    str(path.relative_to(REPOSITORY))
    for path in sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])
)
"""The pages, as paths from the repository's root."""

_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", flags=re.M | re.S)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


class Block(NamedTuple):
    """A fenced block: its page, the number of its first line, its language and its text."""

    page: str
    line: int
    language: str
    text: str


def text_of(page: str) -> str:
    """The text of a page."""
    return (REPOSITORY / page).read_text()


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order; those in lists without their indentation."""
    text = text_of(page)
    return [
        Block(
            page,
            text.count("\n", 0, found.start()) + 2,
            found[2],
            re.sub(rf"^{found[1]}", "", found[3], flags=re.M),
        )
        for found in _FENCE.finditer(text)
    ]


def inline(page: str) -> Iterator[str]:
    """What stands between single backquotes."""
    return (found[1] for found in _INLINE.finditer(_FENCE.sub("", text_of(page))))
