"""Arrays that are too large for memory: their rows lie in a temporary file."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

_AT_ONCE = 64  # rows that are read at a time where all are


class RowFile:
    """An array [N, ...] whose rows are read from a file whenever they are asked for.

    It is made by adding batches. Rows are taken by a slice, an int or an array of ints, and come as
    arrays. The file has no name and is gone with the process; it lies in the folder of temporary
    files (`TMPDIR`).

    Args:
        like: Array with the shape of a row and the dtype, such as the first batch.

    Attributes:
        dtype: The dtype.
    """

    def __init__(self, like: np.ndarray) -> None:
        self.dtype, self._row, self._count = like.dtype, like.shape[1:], 0
        self._size = int(np.prod(self._row)) * self.dtype.itemsize
        self._places: np.ndarray | None = None
        self._file = _File()

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and the shape of each."""
        return (len(self), *self._row)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def append(self, rows: np.ndarray) -> None:
        """Adds rows at the end.

        Raises:
            ValueError: If they are of another shape or dtype.
            OSError: If the disk is full, with the folder.
        """
        if rows.shape[1:] != self._row or rows.dtype != self.dtype:
            raise ValueError(
                f"`data` must hold arrays of one shape and dtype, {self._row} {self.dtype}. "
                f"Received: {rows.shape[1:]} {rows.dtype}"
            )
        try:
            self._file.write(np.ascontiguousarray(rows).data)
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}: the folder of temporary files, {tempfile.gettempdir()}, has no "
                "room for images that do not fit into memory; set TMPDIR to another folder",
            ) from None
        self._count += len(rows)

    def rows(self, index: np.ndarray) -> RowFile:
        """Some of the rows, in the same file: what `array[index]` is of an array.

        Args:
            index: int array [M].
        """
        found = copy.copy(self)
        found._places = np.arange(len(self))[index] if self._places is None else self._places[index]
        return found

    def __len__(self) -> int:
        return self._count if self._places is None else len(self._places)

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1 and self._places is None:
                return self._read(start, max(0, stop - start))
            index = np.arange(start, stop, step)
        places = np.arange(len(self))[index] if self._places is None else self._places[index]
        found = np.empty((places.size, *self._row), self.dtype)
        for row, place in zip(found, places.reshape(-1), strict=True):
            row[...] = self._read(int(place), 1)[0]
        return found.reshape(*places.shape, *self._row)

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self[start : start + _AT_ONCE]

    def min(self) -> Any:
        """The least number."""
        return min(row.min() for row in self)

    def max(self) -> Any:
        """The largest number."""
        return max(row.max() for row in self)

    def _read(self, start: int, count: int) -> np.ndarray:
        """Some consecutive rows."""
        found = np.empty((count, *self._row), self.dtype)
        left, place = memoryview(found).cast("B") if found.size else b"", start * self._size
        while len(left):
            read = self._file.read(left, place)
            if not read:
                raise OSError("the temporary file of images was cut short")
            left, place = left[read:], place + read
        return found


class _File:
    """A temporary file, closed when the last array that lies in it is gone."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="tfrcp_")  # noqa: SIM115

    def write(self, data: memoryview) -> None:
        """Writes at the end."""
        self._file.write(data)
        self._file.flush()

    def read(self, into: memoryview, place: int) -> int:
        """Reads from a place on; returns how many bytes."""
        return os.preadv(self._file.fileno(), [into], place)

    def __del__(self) -> None:
        self._file.close()
