"""Layers and functions of which running them shows that they act on each channel alone."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.atoms import Atoms
from tfrcp.graph.calls import Call, Value, named_variables
from tfrcp.graph.carrying import differences
from tfrcp.graph.cloning import clone
from tfrcp.graph.inside import own_variables
from tfrcp.graph.rules.base import Arrays, Rule
from tfrcp.graph.symbolic import instead

_OPEN = 8  # positions that stand for an open size
_MOST = 1 << 22  # numbers in the tensor on which something is tried
_EXPONENTS = (-2, 3)  # of the powers of ten by which channels differ in a second trial

#: A function of a tensor, and of which channels are in it.
Function = Callable[[Any, np.ndarray], Any]


@dataclasses.dataclass(frozen=True)
class Proof:
    """How it was shown that a layer acts on each channel alone.

    Attributes:
        text: In words.
        axes: Maps the names of its weights that have numbers for each channel to the axis.
    """

    text: str
    axes: Mapping[str, int]


class UnknownRule(Rule):
    """Stands in for operations that have no rule: freezes whatever they touch.

    A layer of the user's is tried first: on random numbers it must give for some channels alone
    what it gives for them among all, whichever they are. Then channels pass. One with weights is
    tried on random weights, in copies for fewer channels, as a sliced model has.
    """

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Channels pass if they are shown to; else the outputs carry no channels of ours."""
        labels = atoms[call.inputs[0]] if call.inputs else None
        axis = None if labels is None else channel_axis(labels, call.inputs[0])
        proof = None if axis is None else shown_alone(call, axis)
        if proof is None:
            atoms.give_up(call, "no rule for this kind of operation")
            atoms.unknown[call.path] = call.kind
            return
        atoms.proven[call.path] = proof.text
        for name, place in proof.axes.items():
            atoms.weight(call, name, {place: ("channelwise", labels.ravel())})
        atoms[call.outputs[0]] = labels

    def run(self, call: Call, arrays: Arrays, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs the layer with the sliced weights in place of its own, in inference if not told."""
        layer = call.operation
        tensors = {
            id(v): ops.cast(arrays[name], layer.compute_dtype if layer.autocast else v.dtype)
            for name, v in named_variables(layer)
            if name in arrays
        }
        options = _told(layer, kwargs)
        if kwargs.get("training"):
            options["training"] = True
        with instead([layer], tensors):
            return layer.call(ops.cast(args[0], layer.compute_dtype), *args[1:], **options)


def shown_alone(call: Call, axis: int) -> Proof | None:
    """How running a layer of the user's shows that it acts on each channel alone.

    Args:
        call: Its call.
        axis: The axis of the channels.

    Returns:
        `None` if it is none of the user's, takes several tensors, or does not act so.
    """
    layer = call.operation
    if not isinstance(layer, keras.layers.Layer) or layer._layers:
        return None
    own = type(layer) is keras.layers.Lambda or not type(layer).__module__.startswith("keras.")
    if not own or len(call.inputs) != 1 or call.args[:1] != call.inputs:
        return None
    if any(isinstance(x, Value) for x in keras.tree.flatten(dict(call.kwargs))):
        return None
    value, (target, *others) = call.inputs[0], call.outputs
    alike = value.batch == target.batch and len(value.shape) == len(target.shape)
    if others or not alike or "float" not in value.dtype:
        return None
    if value.shape[axis] is None or value.shape[axis] != target.shape[axis]:
        return None
    options = _told(layer, call.kwargs)
    if own_variables(layer):
        return _shown_with_weights(call, axis, options)
    try:  # a layer may say that it gives so many channels whatever it is given
        some = list(value.shape)
        some[axis] += 1
        given = keras.KerasTensor(tuple(some), dtype=value.dtype)
        made = layer.compute_output_spec(given, *call.args[1:], **options)
        if made.shape[axis] != some[axis]:
            return None
    except Exception:  # whatever a layer of the user's does
        return None
    text = acts_alone(stateless(lambda x: layer(x, *call.args[1:], **options)), value, axis)
    return Proof(text, {}) if text else None


def _told(layer: keras.layers.Layer, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments as in inference."""
    options = {k: x for k, x in kwargs.items() if k != "training"}
    if "training" in inspect.signature(layer.call).parameters:
        options["training"] = False
    return options


def _shown_with_weights(call: Call, axis: int, options: Mapping[str, Any]) -> Proof | None:
    """The same for a layer with weights: in copies, with random weights and with its own."""
    layer, size = call.operation, call.inputs[0].shape[axis]
    weights = {n: v for n, v in named_variables(layer) if v.name != "seed_generator_state"}
    axes = {name: [k for k, n in enumerate(v.shape) if n == size] for name, v in weights.items()}
    if size == 1 or len(weights) < len(own_variables(layer)) or call.kwargs.get("training"):
        return None
    if any(len(found) > 1 for found in axes.values()) or not any(axes.values()):
        return None  # along which axis channels lie is open
    if any("float" not in str(v.dtype) for v in weights.values()):
        return None
    random = np.random.default_rng(1)
    own = {name: ops.convert_to_numpy(v) for name, v in weights.items()}
    others = {name: random.uniform(0.5, 1.5, x.shape) for name, x in own.items()}

    def run(copy: Any, x: Any) -> Any:
        return copy(x, *call.args[1:], **options)

    def copied(x: Any, channels: np.ndarray, values: Mapping[str, Any]) -> keras.layers.Layer:
        copy = clone(layer)
        run(copy, x)  # builds it
        for name, v in named_variables(copy):
            if name in values:
                v.assign(values[name].take(channels, *axes[name]) if axes[name] else values[name])
        return copy

    def against_itself(x: Any, channels: np.ndarray) -> Any:
        if len(channels) == size:
            return stateless(lambda x: run(layer, x))(x, channels)
        return run(copied(x, channels, own), x)

    try:
        whole = ops.ones([n or _OPEN for n in call.inputs[0].sizes], dtype=call.inputs[0].dtype)
        twin = copied(whole, np.arange(size), own)
        if differences(layer, twin, vars(keras.layers.Layer())):
            return None  # its configuration does not hold all that it was made of
    except Exception:  # whatever a layer of the user's does
        return None
    text = acts_alone(lambda x, channels: run(copied(x, channels, others), x), call.inputs[0], axis)
    if not text or not acts_alone(against_itself, call.inputs[0], axis):
        return None
    return Proof(text, {name: found[0] for name, found in axes.items() if found})


def channel_axis(labels: np.ndarray, value: Value) -> int | None:
    """The only axis along which channels lie; `None` if there are more, or none."""
    axes = [axis for axis, n in enumerate(labels.shape) if n > 1]
    if labels.size == 1 and labels.item() >= 0:  # a single channel
        axes = [axis for axis, n in enumerate(value.shape) if n == 1 and axis != value.batch][-1:]
    return axes[0] if len(axes) == 1 else None


def stateless(function: Callable[[Any], Any]) -> Function:
    """A function of all channels alike, for `acts_alone`: what it may change, such as random
    states, stays."""

    def run(x: Any, channels: np.ndarray) -> Any:
        with keras.StatelessScope():
            return function(x)

    return run


def acts_alone(function: Function, value: Value, axis: int) -> str | None:
    """Whether a function does with some channels what it does with them among all.

    Args:
        function: The function of a tensor, and of the channels that are in it.
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

    everything = np.arange(size)
    # Large channels beside small ones show a limit of their norm or of their largest number.
    spread = 10 ** random.permutation(np.linspace(*_EXPONENTS, size))
    spread = spread.reshape([-1 if k == axis else 1 for k in range(len(shape))])

    def run(x: np.ndarray, channels: np.ndarray) -> np.ndarray:
        given = ops.convert_to_tensor(x.take(channels, axis), dtype=value.dtype)
        return ops.convert_to_numpy(ops.cast(function(given, channels), "float32"))

    try:
        if not np.array_equal(run(x, everything), run(x, everything)):
            return None
        for factor in (np.ones_like(spread), spread):
            whole = run(factor * x, everything)
            if whole.ndim != x.ndim or whole.shape[axis] != size:
                return None
            for channels in tried:
                part, expected = run(factor * x, channels), whole.take(channels, axis)
                atol = 1e-5 * factor.take(channels, axis)
                if part.shape != expected.shape or not np.allclose(
                    part, expected, rtol=1e-4, atol=atol, equal_nan=True
                ):
                    return None
    except Exception:  # whatever a function of the user's does
        return None
    return f"run on {len(tried)} choices of its {size} channels alone, it gave what it gives on all"
