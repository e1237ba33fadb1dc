"""Old names still work, with a warning."""

import importlib
import sys

import pytest

from tfrcp.renamed import RENAMED


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_module_is_the_new_one(old, monkeypatch):
    monkeypatch.delitem(sys.modules, old, raising=False)
    new = importlib.import_module(RENAMED[old])
    with pytest.warns(DeprecationWarning, match=f"{old} is now {RENAMED[old]}"):
        assert importlib.import_module(old) is new
