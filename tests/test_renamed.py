"""Old names still work, with a warning."""

import importlib
import sys

import pytest

import tfrcp
from tfrcp.renamed import MOVED, NAMES, RENAMED


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_module_is_the_new_one(old, monkeypatch):
    monkeypatch.delitem(sys.modules, old, raising=False)
    new = importlib.import_module(RENAMED[old])
    with pytest.warns(DeprecationWarning, match=f"{old} is now {RENAMED[old]}"):
        assert importlib.import_module(old) is new
    for name, now in NAMES.get(old, {}).items():
        assert getattr(new, name) is getattr(new, now)


@pytest.mark.parametrize(
    ("old", "name"), [(old, name) for old, names in MOVED.items() for name in names]
)
def test_a_name_that_moved_is_found_where_it_was(old, name):
    new = importlib.import_module(MOVED[old][name])
    with pytest.warns(DeprecationWarning, match=f"{old}.{name} is now {MOVED[old][name]}"):
        assert getattr(importlib.import_module(old), name) is getattr(new, name)
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        importlib.import_module(old).nothing_of_the_kind  # noqa: B018


def test_an_old_public_name_is_the_new_one():
    with pytest.warns(DeprecationWarning, match="ArchitectureSpec"):
        assert tfrcp.Blueprint is tfrcp.ArchitectureSpec
