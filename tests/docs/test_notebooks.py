"""The notebooks of the tutorials: made of the pages, and run by Jupyter."""

from __future__ import annotations

import importlib.util
import json
import re

import pytest

from tests.docs.blocks import PAGES, REPOSITORY, blocks, text_of
from tests.docs.test_python import LESS

TUTORIALS = [page for page in PAGES if page.startswith("docs/tutorials/")]


@pytest.fixture(scope="module")
def hook():
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("hook", REPOSITORY / "docs/hooks/notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code(notebook):
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]


@pytest.mark.parametrize("page", TUTORIALS)
def test_a_notebook_holds_the_code_of_its_page(hook, page):
    notebook = json.loads(json.dumps(hook.notebook(text_of(page))))
    install, *cells = code(notebook)
    assert install.startswith("%pip install ")
    printed = [b.text.strip("\n") for b in blocks(page) if b.language == "python"]
    assert cells == printed and len(cells) > 1
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert notebook["cells"][0]["source"][0].startswith("# ")


def test_links_lead_to_the_site_or_are_text(hook):
    text = "# Title\n\nSee [this](../jobs.md#masks) and [that](https://a.example).\n"
    (cell,) = hook.notebook(text)["cells"]
    assert "".join(cell["source"]) == "# Title\n\nSee this and [that](https://a.example)."
    (cell,) = hook.notebook(text, "tutorials/x.md", "https://site.example/")["cells"]
    assert "[this](https://site.example/jobs/#masks)" in "".join(cell["source"])


@pytest.mark.nightly
@pytest.mark.parametrize("page", TUTORIALS)
def test_a_notebook_runs(hook, page, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    notebook = nbformat.reads(json.dumps(hook.notebook(text_of(page))), as_version=4)
    nbformat.validate(notebook)
    del notebook.cells[1]  # the installation
    for cell in notebook.cells:
        for pattern, replacement in LESS.items():
            if cell.cell_type == "code":
                cell.source = re.sub(pattern, replacement, cell.source)
    nbclient.NotebookClient(
        notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
