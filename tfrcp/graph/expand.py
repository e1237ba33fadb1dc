"""Opens composite layers: runs what their `call` does on symbolic tensors, and lists it."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfrcp.graph.held import depends_on_shape
from tfrcp.graph.inside import functional, own_variables, tree
from tfrcp.graph.steps import BATCH, Refused, Step, Tensor, described, maker, nodes_between, step_of
from tfrcp.graph.symbolic import Reads, as_before, plain_errors, run_inside, weights_of


@dataclasses.dataclass(frozen=True, eq=False)
class Opened:
    """An opened layer.

    Attributes:
        given: The symbolic tensors that it was called on, in order.
        steps: What it calls, in order.
        outputs: What it returns; `None` where that is a constant.
        names: Maps id(layer) to the path of the layer below the opened one.
    """

    given: Sequence[Tensor]
    steps: Sequence[Step]
    outputs: Sequence[Tensor | None]
    names: Mapping[int, str]


def can_be_opened(operation: Any) -> bool:
    """Whether something is a layer that may be made of others, other than a model with a graph.

    Keras's own layers that hold no layers are not: they call what Keras does not show. A `Lambda`
    calls what the user's function does.
    """
    if not isinstance(operation, keras.layers.Layer) or functional(operation) is not None:
        return False
    if type(operation) is keras.layers.Lambda:
        return operation.mask is None
    return bool(operation._layers) or not type(operation).__module__.startswith("keras.")


def unfold(layer: keras.layers.Layer, args: Any, kwargs: Mapping[str, Any]) -> Opened:
    """Lists what a composite layer calls, as in inference.

    Args:
        layer: A built layer.
        args: Positional arguments with symbolic tensors, the batch of which is open.
        kwargs: Keyword arguments, likewise.

    Returns:
        `Opened`. The layer, and all that it holds, are as they were before.

    Raises:
        Refused: If what it does is not told by the operations that it calls.
    """
    _check(layer, args, kwargs)
    try:  # with a number for the batch, so that it can be told wherever it goes
        return _run(layer, *_with_batch((args, dict(kwargs))))
    except Exception as error:  # whatever a user's code does with symbolic tensors
        first = error
    try:
        return _run(layer, args, kwargs)
    except Refused as refused:
        raise (first if isinstance(first, Refused) else refused) from None
    except Exception as error:  # likewise; this one speaks of the sizes that the user knows
        if isinstance(first, Refused):
            raise first from None
        raise Refused(f"its `call` does not run on symbolic tensors: {_line(error)}") from error


def _check(layer: keras.layers.Layer, args: Any, kwargs: Mapping[str, Any]) -> None:
    """Refuses what can be told without calling the layer."""
    if not layer.built:
        raise Refused("it is not built")
    if type(layer).__call__ not in (keras.layers.Layer.__call__, keras.Model.__call__):
        raise Refused("it has a `__call__` of its own")
    if layer.activity_regularizer is not None:
        raise Refused("it has an activity regularizer")
    if getattr(layer, "quantization_mode", None) is not None:
        raise Refused("it is quantized")
    tensors = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, Tensor)]
    if not tensors:
        raise Refused("it is given no tensor")
    if kwargs.get("training") is True:
        raise Refused("it is called with training=True")


def _with_batch(structure: Any) -> Any:
    """The same tensors with a number for the batch."""
    made: dict[int, Tensor] = {}

    def sized(x: Any) -> Any:
        if isinstance(x, Tensor) and len(x.shape) and x.shape[0] is None:
            if id(x) not in made:
                made[id(x)] = Tensor((BATCH, *x.shape[1:]), dtype=x.dtype)
            return made[id(x)]
        return x

    return keras.tree.map_structure(sized, structure)


def _run(
    layer: keras.layers.Layer,
    args: Any,
    kwargs: Mapping[str, Any],
    read_from: Sequence[keras.layers.Layer] = (),
) -> Opened:
    """Calls the layer once and lists what it did.

    Args:
        layer: The layer.
        args: Positional arguments.
        kwargs: Keyword arguments.
        read_from: Inner layers of which it reads the weights without calling them on its inputs.
    """
    given = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, Tensor)]
    given = list({id(x): x for x in given}.values())
    names: dict[int, str] = {id(layer): ""}
    for path, x in tree(layer):
        names.setdefault(id(x), path)
    held = [x for _, x in tree(layer) if isinstance(x, keras.layers.Layer)]
    options = dict(kwargs)
    found = inspect.signature(layer.call).parameters.get("training")
    if "training" in options or (found is not None and found.default is not inspect._empty):
        options["training"] = None  # inference, where nobody says otherwise
    if found is None:
        options.pop("training", None)
    with (
        as_before([layer, *held]),
        plain_errors(),
        weights_of([layer, *read_from]) as own,
        run_inside(held),
        Reads() as reads,
    ):
        ends = [*given, *own]
        made_by = [maker(x) for x in ends]
        outputs = layer.call(*_cast(layer, tuple(args)), **_cast(layer, options))
        made = [x for x in keras.tree.flatten(outputs) if x is not None]
        flat = [x for x in made if isinstance(x, Tensor)]
        if not flat:
            raise Refused("it returns something that does not depend on its inputs")
        if [maker(x) for x in ends] != made_by:
            raise Refused("an operation that it calls may give what it is given")  # `ops.cond`
        nodes = nodes_between(ends, flat)
        if found is not None and described(ends, flat) != _trained(layer, ends, args, options):
            raise Refused("its `call` does something else in training")
    if reads.variables:
        owners = [x for x in held if any(id(v) in reads.variables for v in own_variables(x))]
        if owners and not set(owners) & set(read_from):
            return _run(layer, args, kwargs, (*read_from, *owners))
        variable = next(iter(reads.variables.values()))
        raise Refused(f"it computes with the weight '{variable.path}' outside of its layer")
    called = {id(node.operation) for node in nodes}
    if any(id(x) in called for x in read_from):
        raise Refused("it both calls an inner layer and computes with its weights")
    read = {id(x) for node in nodes for x in node.input_tensors}
    steps = []
    for x, operation in own.items():
        if id(x) in read:
            if keeper := depends_on_shape(operation.variable):
                raise Refused(f"a `{keeper}` may ask for the shape of '{operation.variable.path}'")
            names[id(operation)] = names[id(operation.variable)]
            steps.append(Step(operation, (), {}, (), [x]))
    steps += [step_of(node, names, given) for node in nodes]
    return Opened(given, steps, [x if isinstance(x, Tensor) else None for x in made], names)


def _trained(layer: keras.layers.Layer, ends: list[Any], args: Any, options: Any) -> list[str]:
    """What a layer calls in training, as `described` tells it."""
    try:
        options = {**options, "training": True}
        outputs = layer.call(*_cast(layer, tuple(args)), **_cast(layer, options))
        made = keras.tree.flatten(outputs)
        return described(ends, [x for x in made if isinstance(x, Tensor)])
    except Exception:  # whatever a user's code does: it does not do what it does in inference
        return []


def _cast(layer: keras.layers.Layer, args: Any) -> Any:
    """What Keras does with the arguments before it hands them to `call`."""

    def cast(x: Any) -> Any:
        if isinstance(x, Tensor) and layer.autocast and "float" in x.dtype:
            return x if x.dtype == layer.compute_dtype else keras.ops.cast(x, layer.compute_dtype)
        return x

    return keras.tree.map_structure(cast, args)


def _line(error: Exception) -> str:
    """What an error says, in one line, without what Keras adds."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    text = re.sub(r"^Exception encountered when calling [^\n]*\n+", "", text)
    text = text.split("\n\nArguments received by")[0].strip()
    first = text.splitlines()[0].strip() if text else ""
    return f"{type(error).__name__}: {first}"[:200]
