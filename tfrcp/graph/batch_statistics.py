"""Runs a network with every batch norm normalizing by the statistics of the very images.

The mean and variance of what a pointwise convolution makes, y = W^T x + b, follow from its input x:
W^T m + b and the diagonal of W^T C W, with the mean m and the covariance C of x. Where x is narrow
that is cheaper than to read y again, and W can be scaled before y is made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from keras import ops

from tfrcp.graph.calls import Call
from tfrcp.graph.rules import find_rule
from tfrcp.graph.rules.base import Arrays
from tfrcp.graph.weights import arrays_of

Statistics = tuple[Any, Any]
_NARROWER = 1.5  # times as many outputs as inputs a layer must have to be worth it


class BatchStatistics:
    """Runs calls, one after the other, and gathers the statistics of the batch norms' inputs.

    Args:
        arrays: What `slice_weights` returns, as arrays or tensors.
        folds: Maps batch norms to the layers with a kernel that they alone read.
        step: Runs a call as `Program.step` does.
        without: Calls of batch norms that normalize by their moving statistics instead.
    """

    def __init__(
        self,
        arrays: Mapping[str, Arrays],
        folds: Mapping[Call, Call],
        step: Any,
        without: Collection[Call],
    ) -> None:
        self._arrays, self._step, self._without = arrays, step, without
        self._ahead = {
            kernel: norm
            for norm, kernel in folds.items()
            if self._normalizes(norm, arrays_of(norm, arrays)) and _follows(norm, kernel, arrays)
        }
        self._done = set(self._ahead.values())
        self._moments: dict[str, list[tuple[Any, Any, Any]]] = defaultdict(list)

    def step(self, call: Call, entry: Arrays | None, args: tuple, kwargs: dict) -> Any:
        """Runs a call; see `Program.step`."""
        if call in self._ahead:
            return self._scaled(call, self._ahead[call], entry, args, kwargs)
        if call in self._done:
            return args[0]
        if self._normalizes(call, entry):
            mean, variance = find_rule(call.operation).statistics(call, args[0])
            size = ops.cast(ops.size(args[0]), mean.dtype)
            self._moments[call.path].append((mean, variance, size))
            entry = {**entry, "moving_mean": mean, "moving_variance": variance}
        return self._step(call, entry, args, kwargs)

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
        x = ops.reshape(args[0], (-1, ops.shape(args[0])[-1]))
        center = ops.mean(x, axis=0)
        x = x - center
        count = ops.cast(ops.shape(x)[0], x.dtype)
        covariance = ops.matmul(ops.transpose(x), x) / count
        mean = ops.matmul(center[None], matrix)[0]
        variance = ops.sum(matrix * ops.matmul(covariance, matrix), axis=0)
        scale = own.get("gamma", 1.0) * ops.rsqrt(variance + norm.operation.epsilon)
        bias = own.get("beta", 0.0) - mean * scale  # the layer's own goes with the mean
        self._moments[norm.path].append((mean + entry.get("bias", 0.0), variance, count))
        return self._step(call, {**entry, name: kernel * scale, "bias": bias}, args, kwargs)


def _follows(norm: Call, kernel: Call, arrays: Mapping[str, Arrays]) -> bool:
    """Whether a batch norm's statistics are found from the input of the layer before it."""
    rule, entry = find_rule(kernel.operation), arrays_of(kernel, arrays)
    if entry is None or rule.kernel not in entry or not rule.is_pointwise(kernel):
        return False
    *_, inputs, outputs = kernel.variables[rule.kernel].shape
    dtypes = {call.operation.compute_dtype for call in (norm, kernel)}
    return outputs >= _NARROWER * inputs and dtypes == {"float32"}


def _pool(samples: list[tuple[Any, Any, Any]]) -> Statistics:
    """Mean and variance of several samples together, each a mean, a variance and a size."""
    if len(samples) == 1:
        return samples[0][:2]
    total = sum(n for _, _, n in samples)
    mean = sum(m * n for m, _, n in samples) / total
    square = sum((v + m * m) * n for m, v, n in samples) / total
    return mean, square - mean * mean
