"""Least squares layer by layer: each is fitted to the inputs that the pruned network gives it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.calls import Call
from tfrcp.graph.parts import Tensors
from tfrcp.graph.program import Program
from tfrcp.graph.rules import KernelRule, find_rule
from tfrcp.graph.weights import Weights
from tfrcp.reconstruction.blocked_statistics import pooled, statistics
from tfrcp.reconstruction.equations import (
    LEAST_RIDGE,
    LeftOut,
    Moments,
    Unsolvable,
    moments,
    warn_of_ignored,
)
from tfrcp.reconstruction.layers import Rows, applied_to, kernel_rule, other_terms, write_fit
from tfrcp.reconstruction.segments import as_numpy
from tfrcp.reconstruction.together import Look, run_together

Statistics = tuple[np.ndarray, np.ndarray]
_LEAST_VARIANCE = 1e-10  # of the squared mean: less is rounding


class SequentialLeastSquares:
    """Fits a pruned network layer by layer, while both networks run side by side.

    When a convolution or dense layer is reached, W' and b minimize the mean over samples of

        |W'^T x' + b - y|^2 + eps |W' - W_k|^2,

    x' being the unfolded inputs in the pruned network as it is by then, y the original layer's
    outputs before norm and activation (the channels that are kept), W_k the weights that the pruned
    layer has, and eps `ridge` times the mean square of x'. When a batch norm is reached, its mean
    moves by as much as the mean of its input differs between the networks, and its variance changes
    in the ratio of theirs. Only then do both networks go on through the layer, so that each layer
    corrects what is left of the errors of those before it.

    Where a layer is a term of a sum, y also makes up for what the other terms (those that are known
    by then) have lost (He, Zhang and Sun 2017, "Channel Pruning for Accelerating Very Deep Neural
    Networks", on residual branches). A batch norm in between then passes on the fit as it is: its
    statistics become those of its input, and scale and offset undo the change.

    The intercept b is fitted where there is a place for it: the layer's bias, or the batch norm
    that alone reads the layer. Elsewhere b is 0. A depthwise or grouped convolution is fitted
    channel by channel or group by group. A layer that is called several times is fitted, at each
    call, to all calls so far; a batch norm that is called several times keeps its statistics.

    Args:
        program: The program of the unpruned network.
        original: Its weights and sizes.
        inherited: Those of the pruned network.
        keep: Maps labels to whether each position is kept.
        ridge: Float, not negative.
        samples: How many equations to gather for each input of a layer, `None` for all.
        memory_limit: Bytes that the equations of one layer may take; where they take more, the
            first samples are used, as many as fit.

    Attributes:
        program: As given.
        original: As given.
        fitted: Weights and sizes of the pruned network, changed by `run`.
        left_out: Maps the path of every layer that keeps its weights to the reason.
    """

    def __init__(
        self,
        program: Program,
        original: Weights,
        inherited: Weights,
        keep: Callable[[np.ndarray], np.ndarray],
        *,
        ridge: float,
        samples: int | None,
        memory_limit: int,
    ) -> None:
        self.fitted = {path: dict(entry) for path, entry in inherited.items()}
        self.left_out = LeftOut()
        self.program, self.original, self._inherited = program, original, inherited
        self._keep, self._ridge, self._samples = keep, ridge, samples
        self._memory_limit = memory_limit
        self._norms = {layer.path: norm for norm, layer in program.folds.items()}
        self._called = Counter(call.path for call in program.graph.calls.calls)
        self._moments: dict[str, Moments] = {}
        self._others = other_terms(program.graph)
        self._exact: set[str] = set()
        self._settled: set[Call] = set()
        self._norm_labels = {
            place.path: place.labels
            for place in program.graph.places
            if place.weight == "moving_mean"
        }

    def run(self, images: Any, verbose: bool, limit: int | None = None) -> None:
        """Fits all layers; see `run_together`."""
        run_together([self], images, verbose=verbose, limit=limit)

    def steps(self, index: int, call: Call, images: int) -> Iterator[Look]:
        """Fits what a call has; see `Fit`."""
        rule = kernel_rule(call, self._inherited.get(call.path))
        if rule is not None and call.path not in self.left_out:
            yield from self._fit(index, call, rule, images)
        if (
            "moving_mean" in self.fitted.get(call.path, {})
            and self._called[call.path] == 1
            and call not in self._settled
        ):
            yield from self._normalize(call)

    def _fit(self, index: int, call: Call, rule: KernelRule, images: int) -> Iterator[Look]:
        """Fits the kernel of a layer; see `steps`."""
        path, graph = call.path, self.program.graph
        entry, inherited = self.fitted[path], self._inherited[path]
        old = rule.matrix(call, inherited[rule.kernel].astype("float64"))
        blocks, inputs, _ = old.shape
        kept = self._keep(rule.ends(call, graph.labels)[1])
        norm = self._norms.get(path)
        sums = self._moments.pop(path, None) or moments(self._memory_limit, self._ridge)
        if self._called[path] > 1:
            self._moments[path] = sums
        rows, exact, outputs = None, False, []
        precise = old if self._ridge < LEAST_RIDGE else old.astype("float32")

        def look(tensors: Tensors, shared: dict[Call, Any]) -> None:
            nonlocal rows, exact
            pair = call.bind(tensors)[0][0]
            lost = self._lost_elsewhere(call, norm, kept, tensors)
            exact = exact or lost is not None
            x = applied_to(call, pair.pruned, entry)
            if rows is None:
                options = {"images": images, "samples": self._samples, "seed": index}
                most = sums.most(blocks, inputs, old.shape[2])
                rows = Rows(call, x, blocks, inputs, most=most, **options)
                sums.ignored += rows.left_out
            targets = self._targets(call, rule, rows, pair.original, kept, shared)
            for part, chunk in rows.unfold(x):
                y = targets(part)
                if norm is not None:
                    outputs.append((*(f(axis=1).reshape(-1) for f in (y.mean, y.var)), y.shape[1]))
                if lost is not None:
                    y = y + rows.outputs(lost[part])
                own = chunk.astype(precise.dtype, copy=False) @ precise
                sums.add(chunk, y - own)

        yield look
        warn_of_ignored(path, sums)
        try:
            equations = sums.equations("bias" in entry or norm is not None)
            change = equations.change(self._ridge)
        except Unsolvable as reason:
            self.left_out.add(path, reason)
            return
        intercept = equations.targets_mean[:, None] - equations.means[:, None] @ change
        if exact and norm is not None:
            self._exact.add(norm.path)
            self.fitted[norm.path] = self._kept(norm)
        entry.update(inherited)
        bias = self.original[path].get("bias")
        if bias is not None:  # the intercept is all that it changes by
            entry["bias"] = bias = bias[kept]
        new = old + change
        write_fit(call, entry, self.fitted[norm.path] if norm else None, new, intercept)
        if norm is not None and not sums.ignored:
            mean = (equations.means[:, None] @ new).reshape(-1) + entry.get("bias", 0.0)
            old_mean, old_variance = pooled(outputs)
            old_mean = old_mean + (0.0 if bias is None else bias)
            statistics = mean.astype("float32"), equations.variances(new).astype("float32")
            self._settle(norm, statistics, (old_mean, old_variance))

    def _targets(
        self,
        call: Call,
        rule: KernelRule,
        rows: Rows,
        x: Any,
        kept: np.ndarray,
        shared: dict[Call, Any],
    ) -> Callable[[slice], np.ndarray]:
        """What the original layer computes, of some images [blocks, images x positions, outputs].

        Args:
            call: The layer's call.
            rule: Its rule.
            rows: The output positions.
            x: The layer's input in the original network.
            kept: Which of its channels are kept, bool array [out].
            shared: What other fits have computed of these images.
        """
        entry = self.original[call.path]
        matrix = rule.matrix(call, entry[rule.kernel].astype("float32", copy=False))
        if rows.few and len(matrix) == 1:
            applied, matrix = applied_to(call, x, entry), matrix[..., kept]
            return lambda part: rows.products(applied[part], matrix)
        if call not in shared:
            shared[call] = _to_numpy(rule.linear(call, ops.cast(x, "float32"), entry))
        y = shared[call].compress(kept, axis=rule.axis(call))
        return lambda part: rows.outputs(y[part])

    def _lost_elsewhere(
        self, call: Call, norm: Call | None, kept: np.ndarray, tensors: Tensors
    ) -> Any:
        """What the other terms of a sum have lost, in the units of a layer's outputs.

        Args:
            call: The layer's call.
            norm: That of the batch norm that alone reads it, if there is one.
            kept: Which of its channels are kept, bool array [out].
            tensors: What there is before the call.

        Returns:
            Array like the layer's outputs in the pruned network; `None` if the layer is no term of
            a sum or nothing is known of the others.
        """
        others = self._others.get((norm or call).outputs[0], ())
        known = set(tensors) - set(keras.tree.flatten(self.program.graph.calls.inputs))
        pairs = [tensors[value] for value in others if value in known and value in self._others]
        if not pairs or call.operation.activation not in (None, keras.activations.linear):
            return None
        axis = find_rule(call.operation).axis(call)
        lost = sum(
            _to_numpy(pair.original).compress(kept, axis=axis) - _to_numpy(pair.pruned)
            for pair in pairs
        )
        if norm is None:
            return lost
        entry = self._kept(norm)
        if not {"gamma", "beta"} <= entry.keys():
            return None
        spread = np.sqrt(entry["moving_variance"] + norm.operation.epsilon)
        gamma = entry["gamma"]
        units = np.divide(spread, gamma, out=np.zeros_like(spread), where=gamma != 0)
        return np.moveaxis(np.moveaxis(lost, axis, -1) * units, -1, axis)

    def _kept(self, norm: Call) -> dict[str, np.ndarray]:
        """The original weights of a batch norm, of the channels that are kept."""
        kept = self._keep(self._norm_labels[norm.path])
        return {name: array[kept] for name, array in self.original[norm.path].items()}

    def _normalize(self, call: Call) -> Iterator[Look]:
        """Changes the statistics of a batch norm; see `steps`."""
        found: tuple[list, list] = [], []

        def look(tensors: Tensors, shared: dict[Call, Any]) -> None:
            pair = call.bind(tensors)[0][0]
            for x, parts in zip((pair.pruned, pair.original), found, strict=True):
                parts.append((*statistics(call, x), len(x)))

        yield look
        kept = self._keep(self._norm_labels[call.path])
        new, old = map(pooled, found)
        self._settle(call, new, tuple(array[kept] for array in old))

    def _settle(self, norm: Call, new: Statistics, old: Statistics) -> None:
        """Changes the statistics of a batch norm, given those of its input.

        Args:
            norm: Its call.
            new: Mean and variance in the pruned network, arrays [channels].
            old: Those of the same channels in the original network.
        """
        self._settled.add(norm)
        entry, (mean, variance), (old_mean, old_variance) = self.fitted[norm.path], new, old
        if norm.path in self._exact:
            epsilon = norm.operation.epsilon
            scale = entry["gamma"] / np.sqrt(entry["moving_variance"] + epsilon)
            entry["gamma"] = scale * np.sqrt(variance + epsilon)
            entry["beta"] = entry["beta"] + scale * (mean - entry["moving_mean"])
        else:
            before, ratio = self._kept(norm), np.ones_like(variance)
            # Not so where rounding is all there is.
            vary = old_variance > _LEAST_VARIANCE * old_mean**2
            np.divide(variance, old_variance, out=ratio, where=vary & (old_variance > 0))
            mean = before["moving_mean"] + mean - old_mean
            variance = before["moving_variance"] * ratio
        entry.update(moving_mean=mean, moving_variance=variance)


def _to_numpy(x: Any) -> np.ndarray:
    return as_numpy(ops.cast(x, "float32"))
