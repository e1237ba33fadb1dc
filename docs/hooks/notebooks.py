"""A hook of MkDocs: every tutorial is also a Jupyter notebook, made of its page.

Text becomes Markdown cells, Python blocks become code cells, and the first `pip install` that the
page names becomes the first cell. Other blocks, such as commands, stay in the text.
"""

from __future__ import annotations

import json
import posixpath
import re
from typing import Any
from urllib.parse import urljoin

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

FOLDER = "tutorials/"
_PYTHON = re.compile(r"^```python\n(.*?)^```\n?", flags=re.M | re.S)
_INSTALL = re.compile(r"`(pip install [^`]+)`")
_LINK = re.compile(r"(?<!!)\[([^]]+)\]\((?!https?:|#)([^)#]+)\.md(#[^)]*)?\)")


def notebook(text: str, uri: str = "", site: str = "") -> dict[str, Any]:
    """A notebook of a page.

    Args:
        text: The page, Markdown.
        uri: The page's path in the folder of all pages, to which its links are relative.
        site: Address of the site; without one, links to other pages become plain text.

    Returns:
        The content of an .ipynb file, format 4.5.
    """

    def link(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(uri), found[2]))
        address = urljoin(site, f"{path}/") + (found[3] or "")
        return f"[{found[1]}]({address})" if site else found[1]

    parts = _PYTHON.split(text)  # text and code take turns
    cells = [("markdown", _LINK.sub(link, part)) for part in parts[::2]]
    for index, code in enumerate(parts[1::2]):
        cells.insert(2 * index + 1, ("code", code))
    install = _INSTALL.search(text)
    if install:
        cells.insert(1, ("code", f"%{install[1]}"))
    return {
        "cells": [
            _cell(kind, source.strip("\n"), number)
            for number, (kind, source) in enumerate(cells)
            if source.strip()
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _cell(kind: str, source: str, number: int) -> dict[str, Any]:
    cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return cell | {"source": source.splitlines(keepends=True)}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a notebook beside every tutorial."""
    for page in files.documentation_pages():
        if page.src_uri.startswith(FOLDER):
            made = notebook(page.content_string, page.src_uri, config.site_url or "")
            name = page.src_uri.removesuffix(".md") + ".ipynb"
            files.append(File.generated(config, name, content=json.dumps(made, indent=1) + "\n"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links the notebook under the heading of a tutorial."""
    uri = page.file.src_uri
    if not uri.startswith(FOLDER):
        return markdown
    heading, rest = markdown.split("\n", 1)
    name = posixpath.basename(uri).removesuffix(".md") + ".ipynb"
    return f"{heading}\n\n[Download this page as a notebook]({name})\n{rest}"
