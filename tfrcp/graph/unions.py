"""Which atoms are the same channel, and which of them must stay: whole arrays of them at a time."""

from __future__ import annotations

import numpy as np


class Unions:
    """Disjoint sets of atoms (union-find). The representative of a set is its lowest atom."""

    def __init__(self) -> None:
        self._count = 0
        self._parent = np.arange(4096)
        self._constant: list[np.ndarray] = []
        self._frozen: list[tuple[np.ndarray, np.ndarray]] = []

    def new(self, count: int, *, constant: bool = False) -> np.ndarray:
        """New atoms, int array [count]; `constant` ones hold a fixed value, as padded zeros do."""
        atoms = np.arange(self._count, self._count + count)
        self._count += count
        if (known := len(self._parent)) < self._count:
            self._parent = np.append(self._parent, np.arange(known, 2 * self._count))
        if constant:
            self._constant.append(atoms)
        return atoms

    def roots(self, atoms: np.ndarray) -> np.ndarray:
        """Representatives of atoms."""
        parent = self._parent
        while True:
            above = parent[atoms]
            further = parent[above]
            if np.array_equal(above, further):
                return above
            parent[atoms] = further  # shorter ways for those who ask next

    def unite(self, first: np.ndarray, second: np.ndarray) -> None:
        """Unites the sets of atoms [n] with those of others [n], pair by pair."""
        while True:
            first, second = self.roots(first), self.roots(second)
            apart = first != second
            if not apart.any():
                return
            first, second = first[apart], second[apart]
            # A set that is united with several goes below the lowest; the others follow next time.
            np.minimum.at(self._parent, np.maximum(first, second), np.minimum(first, second))

    def freeze(self, atoms: np.ndarray, reasons: np.ndarray | int) -> None:
        """States that atoms must stay.

        Args:
            atoms: int array [n].
            reasons: int array [n], or one for all, above 0. Of a set the first one is told.
        """
        self._frozen.append((atoms, np.broadcast_to(reasons, atoms.shape)))

    def sets(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The sets after everything was united.

        Returns:
            Tuple of int arrays [atoms], the representative of each atom and the reason why its set
            must stay, 0 if there is none, and a bool array [atoms], whether all atoms of its set
            are constant.
        """
        roots = self.roots(np.arange(self._count))
        reasons = np.zeros(self._count, dtype=int)
        for atoms, numbers in reversed(self._frozen):  # of several assignments the last one counts
            reasons[roots[atoms[::-1]]] = numbers[::-1]
        made, constant = np.zeros(self._count, dtype=bool), np.zeros(self._count, dtype=bool)
        for atoms in self._constant:
            constant[atoms] = True
        made[roots[~constant]] = True
        return roots, reasons[roots], ~made[roots]
