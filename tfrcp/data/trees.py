"""Data of any structure in memory: inputs, targets and sample weights are trees of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfrcp.arguments import check_int
from tfrcp.data.batches import Batches
from tfrcp.data.memory import batches_of_rows
from tfrcp.data.rows import count_rows, take
from tfrcp.data.splits import Split


@dataclass(frozen=True, eq=False)
class TreeSplit(Split):
    """Inputs, targets and sample weights in memory, as a network takes them.

    Attributes:
        data: Tuple (x,), (x, y) or (x, y, sample_weight): structures of arrays [N, ...].
    """

    data: tuple[Any, ...]

    @property
    def size(self) -> int:
        """Number of examples."""
        return count_rows(self.data)

    def arrays(self, count: int | None = None) -> tuple[Any, ...]:
        """The first `count` examples, in the structure of `data`; all by default."""
        if count is not None:
            check_int("count", count, 1)
        return take(self.data, slice(count))

    def _batches(self, batch_size, shuffle, augment, seed, epoch) -> Batches:
        if augment is not None:
            raise ValueError(
                "`augment` is for images of the data sets that tfrcp reads itself: augment in the "
                f"network (keras.layers.RandomFlip ...). Received: augment={augment!r}"
            )
        leaves = tuple(np.asarray(leaf) for leaf in keras.tree.flatten(self.data))
        stored = batches_of_rows(leaves, batch_size, shuffle=shuffle, seed=seed, epoch=epoch)

        def finish(*tensors):
            return _no_lists(keras.tree.pack_sequence_as(self.data, list(tensors[:-1])))

        return Batches(stored, finish)


def _no_lists(tree: Any) -> Any:
    """A structure with tuples for lists, which `tf.data` would make one tensor of."""
    if isinstance(tree, dict):
        return {name: _no_lists(part) for name, part in tree.items()}
    if isinstance(tree, list | tuple):
        return tuple(_no_lists(part) for part in tree)
    return tree
