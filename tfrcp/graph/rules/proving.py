"""Layers and functions of which running them shows that they act on each channel alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.atoms import Atoms
from tfrcp.graph.calls import Call, Value
from tfrcp.graph.inside import own_variables
from tfrcp.graph.rules.base import Rule

_OPEN = 8  # positions that stand for an open size
_MOST = 1 << 22  # numbers in the tensor on which something is tried


class UnknownRule(Rule):
    """Stands in for operations that have no rule: freezes whatever they touch.

    A layer of the user's without weights is tried first: on random numbers it must give for some
    channels alone what it gives for them among all, whichever they are. Then channels pass.
    """

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Channels pass if they are shown to; else the outputs carry no channels of ours."""
        proof = _proof(call, atoms)
        if proof:
            atoms.proven[call.path] = proof
            atoms[call.outputs[0]] = atoms[call.inputs[0]]
            return
        atoms.give_up(call, "no rule for this kind of operation")
        atoms.unknown[call.path] = call.kind


def _proof(call: Call, atoms: Atoms) -> str | None:
    """How it was shown that a call acts on each channel alone; `None` if it was not."""
    layer = call.operation
    if not isinstance(layer, keras.layers.Layer) or layer._layers or own_variables(layer):
        return None
    own = type(layer) is keras.layers.Lambda or not type(layer).__module__.startswith("keras.")
    if not own or len(call.inputs) != 1 or call.args[:1] != call.inputs:
        return None
    if any(isinstance(x, Value) for x in keras.tree.flatten(dict(call.kwargs))):
        return None
    value, (target, *others) = call.inputs[0], call.outputs
    axis = channel_axis(atoms[value], value)
    if others or axis is None or "float" not in value.dtype or value.shape != target.shape:
        return None
    options = {k: x for k, x in call.kwargs.items() if k != "training"}
    if "training" in inspect.signature(layer.call).parameters:
        options["training"] = False
    try:  # a layer may say that it gives so many channels whatever it is given
        some = list(value.shape)
        some[axis] += 1
        given = keras.KerasTensor(tuple(some), dtype=value.dtype)
        made = layer.compute_output_spec(given, *call.args[1:], **options)
        if tuple(made.shape) != given.shape:
            return None
    except Exception:  # whatever a layer of the user's does
        return None
    return acts_alone(lambda x: layer(x, *call.args[1:], **options), value, axis)


def channel_axis(labels: np.ndarray, value: Value) -> int | None:
    """The only axis along which channels lie; `None` if there are more, or none."""
    axes = [axis for axis, n in enumerate(labels.shape) if n > 1]
    if labels.size == 1 and labels.item() >= 0:  # a single channel
        axes = [axis for axis, n in enumerate(value.shape) if n == 1 and axis != value.batch][-1:]
    return axes[0] if len(axes) == 1 else None


def acts_alone(function: Callable[[Any], Any], value: Value, axis: int) -> str | None:
    """Whether a function does with some channels what it does with them among all.

    Args:
        function: The function of one tensor.
        value: What it is called on.
        axis: The axis of the channels.

    Returns:
        How it was shown; `None` if it was not.
    """
    shape = [n or _OPEN for n in value.sizes]
    if value.batch is not None:
        shape[value.batch] *= 2
    if np.prod(shape) > _MOST:
        return None
    random, size = np.random.default_rng(0), shape[axis]
    x = random.normal(size=shape)
    tried = [np.sort(random.permutation(size)[: max(size // 2, 1)]) for _ in range(3)]
    tried += [np.array([channel]) for channel in random.permutation(size)[:5]]
    try:
        with keras.StatelessScope():  # what it may change, such as random states, stays
            whole = _run(function, x, value.dtype)
            if whole.shape != x.shape or not np.array_equal(whole, _run(function, x, value.dtype)):
                return None
            for channels in tried:
                part = _run(function, x.take(channels, axis), value.dtype)
                expected = whole.take(channels, axis)
                if part.shape != expected.shape or not np.allclose(
                    part, expected, rtol=1e-4, atol=1e-5, equal_nan=True
                ):
                    return None
    except Exception:  # whatever a function of the user's does
        return None
    return f"run on {len(tried)} choices of its {size} channels alone, it gave what it gives on all"


def _run(function: Callable[[Any], Any], x: np.ndarray, dtype: str) -> np.ndarray:
    result = function(ops.convert_to_tensor(x, dtype=dtype))
    return ops.convert_to_numpy(ops.cast(result, "float32"))
