"""The Python code of every page runs, in the order in which it is printed."""

from __future__ import annotations

import re

import matplotlib
import pytest

import tfrcp
from tests.docs import setting
from tests.docs.blocks import PAGES, blocks

SETTINGS = {"README.md": setting.readme, "docs/deployment.md": setting.exported}
ELSEWHERE = ("docs/jobs.md",)  # tests/test_jobs_page.py gives each recipe a job of its kind
SLOW = (
    "README.md",
    "docs/deployment.md",
    "docs/scratch.md",
    "docs/search.md",
    "docs/tutorials/",
    "docs/how-to/no_labels.md",
    "docs/how-to/onnx.md",
    "docs/how-to/segmentation.md",
    "docs/how-to/several_heads.md",
)
LESS = {
    r"max_trials=\d+": "max_trials=2",
    r"epochs=\d+": "epochs=1",
    r"resnet20\(": "resnet8(",
}


def code(page):
    """The Python blocks of a page as one text; line numbers are the page's."""
    text = ""
    for block in blocks(page):
        if block.language == "python":
            text += "\n" * (block.line - 1 - text.count("\n")) + block.text
    for pattern, replacement in LESS.items():
        text = re.sub(pattern, replacement, text)
    return text


CODE = {page: code(page) for page in PAGES if page not in ELSEWHERE and code(page)}


# Keras warns of its own default where the data are a tf.data.Dataset.
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")
@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=pytest.mark.nightly if p.startswith(SLOW) else ()) for p in CODE],
)
def test_the_code_runs(page, tmp_path, monkeypatch):
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tfrcp, "prune", setting.quick(tfrcp.prune))
    names = SETTINGS.get(page, setting.small)(tmp_path)
    exec(compile(CODE[page], page, "exec"), {**names, "__name__": page})


def test_pages_with_code_were_found():
    assert {"README.md", "docs/search.md", "docs/scratch.md"} <= {*CODE}
