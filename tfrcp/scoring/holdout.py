"""The examples that score candidates, in the batches that Keras's `evaluate` would take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from tfrcp.data import Examples
from tfrcp.data.rows import count_rows, join, take
from tfrcp.scoring.kinds import Objective
from tfrcp.scoring.racing import RACING_INTERVAL


class Part(NamedTuple):
    """Some consecutive examples.

    Attributes:
        x: Inputs, structure of arrays [n, ...].
        y: Targets, or the outputs of the unpruned network; `None` if there are none.
        sample_weight: Sample weights, or `None`.
    """

    x: Any
    y: Any
    sample_weight: Any

    @property
    def size(self) -> int:
        """Number of examples."""
        return count_rows(self.x)

    def take(self, index: Any) -> Part:
        """The examples of an index."""
        return Part(*(take(tree, index) for tree in self))


class Holdout:
    """The examples that score, and the objective that they are scored by.

    Where the objective is a mean over examples of one value for each, which is checked on the
    unpruned network's outputs, the values decide, and the examples are put in random order, so that
    the first ones tell about all. Else all of them are taken, in the batches of Keras's `evaluate`:
    those of the data set, or 32 of arrays.

    Args:
        examples: The examples.
        objective: What is scored.
        model: The unpruned model, compiled.
        outputs: Function of inputs to the unpruned model's outputs.
        pack: Lays inputs into the structure of the model's inputs.
        batch_size: Most examples in a forward pass.

    Attributes:
        data: All of them, as they came.
        by_values: Whether every example has a value of its own whose mean is the score.
    """

    def __init__(
        self,
        examples: Examples,
        objective: Objective,
        model: keras.Model,
        outputs: Callable[[Any], Any],
        pack: Callable[[Any], Any],
        batch_size: int = 250,
    ) -> None:
        self.objective, self._model = objective, model
        self.data = Part(pack(examples.x), examples.y, examples.sample_weight)
        self._order: np.ndarray | None = None  # images are not copied to lie in it
        self._sizes, self._batch_size = examples.evaluated_batches, batch_size
        if objective.needs_reference:
            wanted = join([outputs(part.x) for part in self.forward_parts()])
            wanted = keras.tree.map_structure(np.asarray, wanted)
            self.data = Part(self.data.x, wanted, None)
        self.by_values = self._check_values(outputs)
        if self.by_values:
            self._order = np.random.default_rng(0).permutation(self.size)

    @property
    def size(self) -> int:
        """Number of examples."""
        return self.data.size

    def forward_parts(self, most: int | None = None) -> Iterator[Part]:
        """The examples in parts for a forward pass each."""
        size = min(self._batch_size, most or self._batch_size)
        for start in range(0, self.size, size):
            yield self._cut(start, start + size)

    def _cut(self, start: int, stop: int) -> Part:
        """The examples from `start` to `stop`, in the order in which they are scored."""
        index = slice(start, stop)
        return self.data.take(index if self._order is None else self._order[index])

    def values(self, part: Part, outputs: Any) -> np.ndarray:
        """The value of every example of a part, float64 [n]."""
        return self.objective.values(part.y, outputs, part.sample_weight)

    def total(self, outputs: Callable[[Any], Any], model: keras.Model | None = None) -> float:
        """The score over all examples, in the batches of Keras's `evaluate`.

        Args:
            outputs: Function of inputs to outputs.
            model: The network whose own loss and metrics count. Defaults to the unpruned one.
        """
        meter = self.objective.meter(self._model if model is None else model)
        start = 0
        for chunk in self._chunks():
            whole = self._cut(start, start + sum(chunk))
            found, first = outputs(whole.x), 0
            for size in chunk:
                part = whole.take(slice(first, first + size))
                # Slices of outputs would lose their masks.
                of_part = take(found, slice(first, first + size)) if len(chunk) > 1 else found
                meter.update(part.y, of_part, part.sample_weight, part.x)
                first += size
            start += sum(chunk)
        return meter.result()

    def _chunks(self) -> Iterator[list[int]]:
        """Sizes of batches, those together that fit into a forward pass."""
        chunk: list[int] = []
        for size in self._sizes:
            if chunk and sum(chunk) + size > self._batch_size:
                yield chunk
                chunk = []
            chunk.append(size)
        yield chunk

    def _check_values(self, outputs: Callable[[Any], Any]) -> bool:
        """Whether the mean of the values is the score, on the unpruned network's outputs.

        They are compared with the targets of other examples: of a network without errors, every
        way to weigh them would give the same score.

        Raises:
            ValueError: If the examples do not fit the objective.
        """
        first = self.data.take(slice(min(self._sizes[0], self._batch_size)))
        found = outputs(first.x)
        try:
            meter = self.objective.meter(self._model)
            meter.update(first.y, found, first.sample_weight, first.x)
            meter.result()
            values = self.values(first, found)
        except Exception as error:  # whatever a loss or metric does with what does not fit it
            shapes = keras.tree.map_structure(lambda a: tuple(np.shape(a)), (first.y, found))
            raise ValueError(
                f"`validation_data` does not fit the objective '{self.objective.name}' of "
                f"'{self._model.name}': {str(error).strip()[:500]} Received: targets "
                f"{shapes[0]}, outputs {shapes[1]}"
            ) from error
        if values is None:
            return False
        if self.objective.is_mean and first.sample_weight is None:
            return True
        own = self.data
        self.data = own._replace(y=take(own.y, np.roll(np.arange(self.size), -1)))
        try:
            parts = [self.values(part, outputs(part.x)) for part in self.forward_parts()]
            found, total = np.concatenate(parts), self.total(outputs)
        finally:
            self.data = own
        return bool(abs(found.mean() - total) <= 1e-5 * np.abs(found).mean())


def racing_possible(holdout: Holdout) -> bool:
    """Whether a candidate can be stopped before it has seen all examples."""
    return holdout.by_values and holdout.size > RACING_INTERVAL
