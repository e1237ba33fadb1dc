"""Old names still work, with a warning."""

import importlib
import sys

import pytest

import tfrcp
from tfrcp.renamed import NAMES, RENAMED


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_module_is_the_new_one(old, monkeypatch):
    monkeypatch.delitem(sys.modules, old, raising=False)
    new = importlib.import_module(RENAMED[old])
    with pytest.warns(DeprecationWarning, match=f"{old} is now {RENAMED[old]}"):
        assert importlib.import_module(old) is new
    for name, now in NAMES.get(old, {}).items():
        assert getattr(new, name) is getattr(new, now)


def test_an_old_public_name_is_the_new_one():
    with pytest.warns(DeprecationWarning, match="ArchitectureSpec"):
        assert tfrcp.Blueprint is tfrcp.ArchitectureSpec
