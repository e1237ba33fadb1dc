"""Runs a network with every batch norm normalizing by the statistics of the very images.

The mean and variance of what a pointwise convolution makes, y = W^T x + b, follow from its input x:
W^T m + b and the diagonal of W^T C W, with the mean m and the covariance C of x. Where x is narrow
that is cheaper than to read y again, and W can be scaled before y is made.

Where tensors are wide the images run in parts; the statistics are those of all of them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Any

import keras
from keras import ops

from tfrcp.graph.calls import Call
from tfrcp.graph.rules import find_rule
from tfrcp.graph.rules.base import Arrays
from tfrcp.graph.weights import arrays_of

Statistics = tuple[Any, Any]
_NARROWER = 1.5  # times as many outputs as inputs a layer must have to be worth it


@dataclasses.dataclass(frozen=True)
class Cuts:
    """How images are cut into parts.

    Attributes:
        calls: The first calls of the network, which run part by part.
        size: Images of a part; the last one has the rest.
        count: Number of parts.
    """

    calls: frozenset[Call] = frozenset()
    size: int = 0
    count: int = 1


class _Cut:
    """A tensor [images, ...] in parts."""

    def __init__(self, parts: list[Any]) -> None:
        self.parts = parts

    @functools.cached_property
    def whole(self) -> Any:
        return ops.concatenate(self.parts)


class BatchStatistics:
    """Runs calls, one after the other, and gathers the statistics of the batch norms' inputs.

    Args:
        arrays: What `slice_weights` returns, as arrays or tensors.
        folds: Maps batch norms to the layers with a kernel that they alone read.
        step: Runs a call as `Program.step` does.
        without: Calls of batch norms that normalize by their moving statistics instead.
        cuts: How images are cut into parts.
    """

    def __init__(
        self,
        arrays: Mapping[str, Arrays],
        folds: Mapping[Call, Call],
        step: Any,
        without: Collection[Call],
        cuts: Cuts,
    ) -> None:
        self._arrays, self._step, self._without, self._cuts = arrays, step, without, cuts
        self._ahead = {
            kernel: norm
            for norm, kernel in folds.items()
            if self._normalizes(norm, arrays_of(norm, arrays)) and _follows(norm, kernel, arrays)
        }
        self._done = set(self._ahead.values())
        self._moments: dict[str, list[tuple[Any, Any, Any]]] = defaultdict(list)

    def cut(self, x: Any) -> Any:
        """An input of the network, tensor [images, ...], as the first calls take it."""
        size, last = self._cuts.size, self._cuts.count - 1
        if not last:
            return x
        return _Cut([*(x[i * size : (i + 1) * size] for i in range(last)), x[last * size :]])

    def step(self, call: Call, entry: Arrays | None, args: tuple, kwargs: dict) -> Any:
        """Runs a call; see `Program.step`."""
        if call not in self._cuts.calls:
            args, kwargs = keras.tree.map_structure(joined, (args, kwargs))
        if call in self._ahead:
            return self._scaled(call, self._ahead[call], entry, args, kwargs)
        if call in self._done:
            return args[0]
        if self._normalizes(call, entry):
            rule = find_rule(call.operation)
            samples = [(*rule.statistics(call, x), _size(x)) for x in _parts(args[0])]
            mean, variance = _pool(samples)
            size = sum(size for *_, size in samples)
            self._moments[call.path].append((mean, variance, size))
            entry = {**entry, "moving_mean": mean, "moving_variance": variance}
        return _each(lambda args, kwargs: self._step(call, entry, args, kwargs), args, kwargs)

    def found(self) -> dict[str, Statistics]:
        """Maps the paths of batch norms to the mean and variance of their inputs."""
        return {path: _pool(samples) for path, samples in self._moments.items()}

    def _normalizes(self, call: Call, entry: Arrays | None) -> bool:
        return entry is not None and "moving_mean" in entry and call not in self._without

    def _scaled(self, call: Call, norm: Call, entry: Any, args: tuple, kwargs: dict) -> Any:
        """What a pointwise layer and the batch norm behind it make together."""
        name, own = find_rule(call.operation).kernel, arrays_of(norm, self._arrays)
        kernel = entry[name]
        matrix = ops.reshape(kernel, ops.shape(kernel)[-2:])
        parts = [ops.reshape(x, (-1, ops.shape(x)[-1])) for x in _parts(args[0])]
        sizes = [ops.cast(ops.shape(x)[0], x.dtype) for x in parts]
        count = sum(sizes)
        center = sum(ops.mean(x, axis=0) * (n / count) for x, n in zip(parts, sizes, strict=True))
        parts = [x - center for x in parts]
        covariance = sum(ops.matmul(ops.transpose(x), x) for x in parts) / count
        mean = ops.matmul(center[None], matrix)[0]
        variance = ops.sum(matrix * ops.matmul(covariance, matrix), axis=0)
        scale = own.get("gamma", 1.0) * ops.rsqrt(variance + norm.operation.epsilon)
        bias = own.get("beta", 0.0) - mean * scale  # the layer's own goes with the mean
        self._moments[norm.path].append((mean + entry.get("bias", 0.0), variance, count))
        entry = {**entry, name: kernel * scale, "bias": bias}
        return _each(lambda args, kwargs: self._step(call, entry, args, kwargs), args, kwargs)


def _follows(norm: Call, kernel: Call, arrays: Mapping[str, Arrays]) -> bool:
    """Whether a batch norm's statistics are found from the input of the layer before it."""
    rule, entry = find_rule(kernel.operation), arrays_of(kernel, arrays)
    if entry is None or rule.kernel not in entry or not rule.is_pointwise(kernel):
        return False
    *_, inputs, outputs = kernel.variables[rule.kernel].shape
    dtypes = {call.operation.compute_dtype for call in (norm, kernel)}
    return outputs >= _NARROWER * inputs and dtypes == {"float32"}


def joined(x: Any) -> Any:
    """A tensor as a whole, whether it is in parts or not."""
    return x.whole if isinstance(x, _Cut) else x


def _parts(x: Any) -> list[Any]:
    return x.parts if isinstance(x, _Cut) else [x]


def _each(function: Callable[[tuple, dict], Any], args: tuple, kwargs: dict) -> Any:
    """Applies a function to arguments, part by part where one of them is in parts."""
    counts = {len(x.parts) for x in keras.tree.flatten((args, kwargs)) if isinstance(x, _Cut)}
    if not counts:
        return function(args, kwargs)
    (count,) = counts

    def part(x: Any, number: int) -> Any:
        return x.parts[number] if isinstance(x, _Cut) else x

    outputs = [
        function(*keras.tree.map_structure(functools.partial(part, number=i), (args, kwargs)))
        for i in range(count)
    ]
    return keras.tree.map_structure(lambda *parts: _Cut(list(parts)), *outputs)


def _size(x: Any) -> Any:
    return ops.cast(ops.size(x), keras.backend.result_type(x.dtype, "float32"))


def _pool(samples: list[tuple[Any, Any, Any]]) -> Statistics:
    """Mean and variance of several samples together, each a mean, a variance and a size."""
    if len(samples) == 1:
        return samples[0][:2]
    total = sum(n for *_, n in samples)
    mean = sum(m * (n / total) for m, _, n in samples)
    return mean, sum((v + ops.square(m - mean)) * (n / total) for m, v, n in samples)
