"""The pages: errors are quoted as the code says them, lines are short, the site builds."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys

import pytest

from tests.docs.blocks import PAGES, REPOSITORY, text_of

HOLE = "\0"  # what stands for a value in a message


def messages():
    """Every string of the package, with holes where values are put in."""
    for file in (REPOSITORY / "tfrcp").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else HOLE for p in node.values)
                yield "".join(parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def quoted():
    """The errors that head the sections of the page on troubleshooting."""
    text = text_of("docs/troubleshooting.md")
    return [
        found[2].strip() for found in re.finditer(r"^### (`+)(.+?)\1$", text, flags=re.M) if found
    ]


@pytest.fixture(scope="module")
def said():
    return list(messages())


@pytest.mark.parametrize("error", quoted())
def test_an_error_is_quoted_as_the_code_says_it(error, said):
    pattern = re.compile(".*".join(re.escape(part.strip()) for part in error.split("...")), re.S)
    assert any(pattern.search(text) for text in said)


def test_errors_are_quoted():
    assert len(quoted()) > 20


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/")])
def test_lines_are_short(page):
    long = [
        line
        for line in text_of(page).splitlines()
        if len(line) > 100 and not line.startswith("|") and "](" not in line
    ]
    assert long == []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as it is published; warnings are errors."""
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    process = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": ":".join(sys.path)},
    )
    assert process.returncode == 0, process.stderr
    return folder


def test_every_page_is_in_the_navigation(site):
    stated = (REPOSITORY / "mkdocs.yml").read_text()
    for page in PAGES:
        if page.startswith("docs/"):
            assert f": {page.removeprefix('docs/')}" in stated


@pytest.mark.parametrize(
    "words", ["segmentation", "binary", "keep layer", "onnx", "latency", "compare", "custom layer"]
)
def test_a_search_finds_a_page(site, words):
    documents = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    titles = [document["title"].lower() for document in documents]
    assert any(all(word in title for word in words.split()) for title in titles)


def test_public_names_have_their_reference(site):
    import tfrcp

    text = "".join(file.read_text() for file in site.glob("reference/**/index.html"))
    packages = {"allocation", "criteria", "data", "deployment", "models", "search"}
    modules = {"latency", "rounding"}
    missing = [
        name for name in {*tfrcp.__all__} - packages - modules if f'id="tfrcp.{name}"' not in text
    ]
    assert missing == []
