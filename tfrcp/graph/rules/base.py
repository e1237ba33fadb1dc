"""What a rule is: all that tfrcp knows of one kind of layer, in one place."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfrcp.graph.atoms import Atoms, axis_labels
from tfrcp.graph.calls import Call, Value
from tfrcp.graph.cloning import clone, is_plain

Labels = Mapping[Value, np.ndarray]
Axes = Mapping[tuple[str, int], np.ndarray]
Keep = Callable[[np.ndarray], np.ndarray]
Arrays = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Product:
    """MACs per image: a coefficient times the number of kept channels in every factor.

    Attributes:
        coefficient: Int, for instance kernel positions times output positions.
        factors: Tuple of labels, int arrays; each counts the kept channels among its entries.
    """

    coefficient: int
    factors: tuple[np.ndarray, ...]


class Rule:
    """All that tfrcp knows of one kind of layer or operation.

    The defaults suit an operation without weights and without sizes in its configuration.
    """

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Says how channels pass: sets the labels of the outputs and of the weights' axes.

        Args:
            call: The call.
            atoms: Holds the labels of the inputs; takes those of the outputs.
        """
        raise NotImplementedError

    def products(self, call: Call, labels: Labels, axes: Axes) -> Sequence[Product]:
        """The MACs of the call, per image.

        Args:
            call: The call.
            labels: Labels of all tensors.
            axes: Labels along the axes of the layer's weights, by name and axis.

        Returns:
            Sequence of `Product`. Empty where the convention counts nothing.
        """
        return ()

    def sizes(self, call: Call, labels: Labels, keep: Keep) -> dict[str, np.ndarray]:
        """Numbers in the operation's configuration that change with the kept channels.

        Args:
            call: The call.
            labels: Labels of all tensors.
            keep: Maps labels to a bool array, whether each position is kept.

        Returns:
            Dict of int arrays, handed to `rebuild` and `run` beside the sliced weights.
        """
        return {}

    def rebuild(self, call: Call, arrays: Arrays) -> keras.Operation:
        """A new layer or operation for the sliced model, without weights yet.

        Args:
            call: The call in the original model.
            arrays: Sliced weights and sizes of this call.
        """
        operation = call.operation
        try:
            return clone(operation)
        except NotImplementedError as error:
            if is_plain(operation):
                return type(operation)(name=operation.name, dtype=operation.dtype_policy.name)
            if getattr(operation, "variables", ()) or getattr(operation, "_layers", ()):
                raise ValueError(
                    f"`{call.path}` ({call.kind}) has no `get_config`, so that no pruned model can "
                    "hold a copy of it. Give the class one that its `__init__` takes. Keras says: "
                    f"{error}"
                ) from error
            # An operation on arrays, say: it has no state but its arguments.
            again = object.__new__(type(operation))
            vars(again).update(vars(operation), _inbound_nodes=[], _outbound_nodes=[])
            return again

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs the operation on sliced tensors with the weights and sizes that it is handed.

        Args:
            call: The call in the original model.
            arrays: Sliced weights and sizes of this call, tensors.
            args: Positional arguments of the call, sliced tensors.
            kwargs: Keyword arguments of the call.
        """
        return call.operation(*args, **kwargs)


def layer_like(layer: keras.layers.Layer, /, **changes: Any) -> keras.layers.Layer:
    """A new layer with the same configuration but for the changes; without weights."""
    return clone(layer, **changes)


def known_line(labels: Labels, value: Value, axis: int) -> np.ndarray:
    """Labels of a tensor along one axis, int array; negative ones where that has no meaning."""
    found = axis_labels(labels[value], value, axis)
    return np.full(value.shape[axis], -1) if found is None else found


def positions(call: Call, axis: int, value: Value | None = None) -> int:
    """Number of positions of a tensor, all axes but the batch and the channel axis.

    Args:
        call: The call.
        axis: The channel axis.
        value: The tensor. Defaults to the call's output.

    Raises:
        ValueError: If a size is unknown.
    """
    shape = (value or call.outputs[0]).sizes
    sizes = [n for i, n in enumerate(shape) if i != axis % len(shape)]
    if None in sizes:
        raise ValueError(
            f"The cost of `{call.path}` depends on the image size, which the model leaves open: "
            f"shape {shape}. Give `tfrcp.trace` an `input_shape`, such as (224, 224, 3)."
        )
    return math.prod(sizes)
