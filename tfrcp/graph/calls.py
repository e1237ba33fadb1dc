"""A Keras model as a list of calls.

All that follows a trace works on `Call` and `Value`: the operations in the order in which they run,
those of nested models and opened layers in their place, and each tensor replaced by a `Value` that
knows its shape.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import keras


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph.

    Attributes:
        shape: Tuple of ints and `None`s.
        dtype: String.
        batch: The axis of the batch, in nearly all tensors the first; `None` if there is none.
        fold: How many entries every example has on that axis: more than one where the batch is
            joined with another axis, as that of the windows of an image.
        known: The shape for inputs of the sizes that `trace` was given, if it was given any.
    """

    shape: tuple[int | None, ...]
    dtype: str
    batch: int | None = 0
    fold: int = 1
    known: tuple[int | None, ...] | None = None

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The shape for a batch of one example."""
        shape = self.shape if self.known is None else self.known
        return tuple(self.fold if i == self.batch else n for i, n in enumerate(shape))


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """One operation called once.

    Attributes:
        path: Name of the layer or operation, preceded by the names of the nested models and opened
            layers that it stands in, joined by "/". A layer that is called several times, in
            whatever models, has the path of its first call.
        key: Name of this very call: the path, numbered from the second call on.
        operation: The `keras.Operation` (a layer, or an operation such as `keras.ops.pad`).
        args: Positional arguments, a `Value` standing for every tensor.
        kwargs: Keyword arguments, likewise.
        inputs: All the values among the arguments, in order.
        outputs: The values that the call produces.
        name: Its own name; below an opened layer, which a sliced model has not, preceded by that
            layer's, as in "block_conv".
    """

    path: str
    key: str
    operation: keras.Operation
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    name: str = ""

    @property
    def kind(self) -> str:
        """Class name of the operation."""
        return type(self.operation).__name__

    @property
    def variables(self) -> Mapping[str, keras.Variable]:
        """The operation's own variables by name, if it is a layer."""
        return dict(named_variables(self.operation))

    def bind(self, tensors: Mapping[Value, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments with every value replaced by the tensor that `tensors` holds for it."""
        fill = lambda x: tensors[x] if isinstance(x, Value) else x  # noqa: E731
        return keras.tree.map_structure(fill, (self.args, dict(self.kwargs)))


def named_variables(operation: keras.Operation) -> list[tuple[str, keras.Variable]]:
    """A layer's variables with their names.

    Where a layer of layers has several of one name, the inner layer's precedes it, as in
    "query/kernel".
    """
    variables = getattr(operation, "variables", ())
    repeated = {name for name, n in Counter(v.name for v in variables).items() if n > 1}
    return [
        ("/".join(v.path.split("/")[-2:]) if v.name in repeated else v.name, v) for v in variables
    ]


@dataclasses.dataclass(frozen=True, eq=False)
class Nested:
    """A nested model called once.

    Attributes:
        path: Its name, preceded as a `Call`'s; of the first call if there are several.
        model: The nested model.
        declared: The shapes that it takes, one for each of its inputs.
        names: The names of its inputs.
        inputs: Structure of `Value` like the nested model's inputs: what it is given here.
        outputs: Structure of `Value` like its outputs.
        training: Whether it is told to run as in training; `None` if it is not told.
        steps: Tuple of `Call` and `Nested`, in the order of execution.
        name: As a `Call`'s.
    """

    path: str
    model: keras.Model
    declared: tuple[tuple[int | None, ...], ...]
    names: tuple[str, ...]
    inputs: Any
    outputs: Any
    training: bool | None
    steps: tuple[Call | Nested, ...]
    name: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Calls:
    """A model as a list of calls.

    Attributes:
        steps: Tuple of `Call` and `Nested`, in the order of execution.
        inputs: Structure of `Value` like the model's inputs.
        outputs: Structure of `Value` like the model's outputs.
        closed: Maps the paths of composite layers that could not be opened to the reasons.
    """

    steps: tuple[Call | Nested, ...]
    inputs: Any
    outputs: Any
    closed: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """All calls in the order of execution, those inside nested models among them."""
        return tuple(flat_calls(self.steps))


def flat_calls(steps: Iterable[Call | Nested]) -> Iterator[Call]:
    """Yields the calls, those inside nested models among them."""
    for step in steps:
        if isinstance(step, Nested):
            yield from flat_calls(step.steps)
        else:
            yield step


def makes_masks(calls: Iterable[Call]) -> bool:
    """Whether a layer makes a mask for those behind it, which a program does not hand on."""
    for call in calls:
        operation = call.operation
        own = getattr(type(operation), "compute_mask", keras.Layer.compute_mask)
        foreign = not type(operation).__module__.startswith("keras.")
        if (
            isinstance(operation, keras.layers.Masking)
            or getattr(operation, "mask_zero", False)
            or (foreign and own is not keras.Layer.compute_mask)
        ):
            return True
    return False
