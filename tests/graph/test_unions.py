"""Sets of atoms against sets made one by one."""

import numpy as np
import pytest

from tfrcp.graph.unions import Unions


def _by_hand(count, pairs):
    root = list(range(count))
    for a, b in pairs:
        low, high = sorted((root[a], root[b]))
        root = [low if x == high else x for x in root]
    return root


@pytest.mark.parametrize("seed", range(5))
def test_random_pairs(seed):
    random = np.random.default_rng(seed)
    unions, pairs = Unions(), []
    unions.new(200)
    for _ in range(4):
        first, second = random.integers(0, 200, (2, 30))
        unions.unite(first, second)
        pairs += zip(first.tolist(), second.tolist(), strict=True)
    assert unions.sets()[0].tolist() == _by_hand(200, pairs)


def test_one_with_many_and_long_chains():
    unions = Unions()
    atoms = unions.new(3000)
    unions.unite(np.full(1000, 999), atoms[:1000][::-1])
    unions.unite(atoms[1000:-1], atoms[1001:])
    assert unions.sets()[0].tolist() == [0] * 1000 + [1000] * 2000


def test_the_first_reason_counts_and_only_sets_of_constants_are_constant():
    unions = Unions()
    atoms, padding = unions.new(4), unions.new(3, constant=True)
    unions.freeze(atoms[[3, 2]], 7)
    unions.freeze(atoms[[1, 3]], np.array([8, 9]))
    unions.unite(atoms[1:2], atoms[2:3])
    unions.unite(padding[:2], np.array([atoms[0], padding[2]]))
    roots, reasons, constant = unions.sets()
    assert roots.tolist() == [0, 1, 1, 3, 0, 5, 5]
    assert reasons.tolist() == [0, 7, 7, 7, 0, 0, 0]
    assert constant.tolist() == [False] * 5 + [True] * 2


def test_more_atoms_than_there_was_room_for():
    unions = Unions()
    unions.unite(unions.new(5000), unions.new(5000))
    assert unions.new(3).tolist() == [10000, 10001, 10002]
    assert unions.sets()[0][5000:].tolist() == [*range(5000), 10000, 10001, 10002]
