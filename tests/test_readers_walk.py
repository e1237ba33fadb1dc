"""The reader's walk of CONTRIBUTING leads through files that exist and define what it names."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text().partition("## The reader's walk\n")[2]
TEXT = TEXT.partition("\n## ")[0]
WALKS = re.findall(r"(?:^\d+\. .*\n)+", TEXT, re.MULTILINE)
HOPS = [hop for walk in WALKS for hop in walk.splitlines()]


def test_there_are_two_walks_of_at_most_ten_hops():
    assert len(WALKS) == 2 and all(1 < len(walk.splitlines()) <= 10 for walk in WALKS)


@pytest.mark.parametrize("hop", HOPS)
def test_a_hop_names_a_file_and_what_it_defines(hop):
    file, name = re.match(r"\d+\. `(tfrcp/[\w/]+\.py)`: `(\w+)` ", hop).groups()
    found = ast.parse((ROOT / file).read_text()).body
    assert name in {getattr(node, "name", None) for node in found}
    for other in re.findall(r"`(tfrcp/[\w/]+\.py)`", hop):
        assert (ROOT / other).exists()
