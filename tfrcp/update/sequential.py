"""Least squares layer by layer: each is fitted to the inputs that the pruned network gives it."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.calls import Call, Value
from tfrcp.graph.program import Program, Weights, arrays_of
from tfrcp.graph.rules import KernelRule, find_rule
from tfrcp.update.equations import LeftOut, Moments, Unsolvable, solve
from tfrcp.update.layers import Rows, applied_to, kernel_rule, write_fit


@dataclasses.dataclass(frozen=True, eq=False)
class _Pair:
    """A tensor of the original network and its counterpart in the pruned one."""

    original: Any
    pruned: Any


class SequentialLeastSquares:
    """Fits a pruned network layer by layer, while both networks run side by side.

    When a convolution or dense layer is reached, W' and b minimize the mean over samples of

        |W'^T x' + b - y|^2 + eps |W' - W_k|^2,

    x' being the unfolded inputs in the pruned network as it is by then, y the original layer's
    outputs before norm and activation (the channels that are kept), W_k the weights that the pruned
    layer has, and eps `ridge` times the mean square of x'. When a batch norm is reached, its
    statistics become those of what it is given in the pruned network. Only then do both networks go
    on through the layer, so that each repairs what is left of the errors of those before it.

    The intercept b is fitted where there is a place for it: the layer's bias, or the batch norm that
    alone reads the layer and whose new mean takes it away. Elsewhere b is 0. A depthwise or grouped
    convolution is fitted channel by channel or group by group. A layer that is called several times
    is fitted, at each call, to all calls so far; a batch norm that is keeps its statistics.

    Args:
        program: The program of the unpruned network.
        original: Its weights and sizes.
        inherited: The pruned network's.
        keep: Maps labels to whether each position is kept.
        ridge: Float, not negative.
        samples: How many equations to gather for each input of a layer, `None` for all.
        memory_limit: Bytes that the equations of one layer may take.

    Attributes:
        fitted: The pruned network's weights and sizes, changed by `run`.
        left_out: Maps the path of a layer that keeps its weights to the reason.
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
        self._program, self._original, self._inherited = program, original, inherited
        self._keep, self._ridge, self._samples = keep, ridge, samples
        self._memory_limit = memory_limit
        self._norms = {layer.path: norm.path for norm, layer in program.folds.items()}
        self._moments: dict[str, Moments] = defaultdict(Moments)
        self._called = Counter(call.path for call in program.graph.calls.calls)

    def run(self, images: Any, verbose: bool) -> None:
        """Fits all layers, in one pass.

        Args:
            images: Structure of arrays like the model's inputs.
            verbose: Whether to show progress.
        """
        calls = self._program.graph.calls.calls
        progress = keras.utils.Progbar(len(calls), verbose=int(verbose), unit_name="layer")

        def step(call: Call, entry: Any, args: tuple, kwargs: dict) -> Any:
            original = keras.tree.map_structure(_original, (args, kwargs))
            pruned = keras.tree.map_structure(_pruned, (args, kwargs))
            rule = kernel_rule(call, self._inherited.get(call.path))
            if rule is not None and call.path not in self.left_out:
                self._fit(call, rule, original[0][0], pruned[0][0])
            if "moving_mean" in self.fitted.get(call.path, {}) and self._called[call.path] == 1:
                self._normalize(call, pruned[0][0])
            outputs = (
                self._program.step(call, arrays_of(call, arrays), *given)
                for arrays, given in ((self._original, original), (self.fitted, pruned))
            )
            progress.add(1)
            return keras.tree.map_structure(_Pair, *outputs)

        pairs = keras.tree.map_structure(lambda x: _Pair(x, x), images)
        self._program.walk(self.fitted, pairs, step)

    def _fit(self, call: Call, rule: KernelRule, x: Any, x_pruned: Any) -> None:
        """Fits the kernel of a layer to its inputs in both networks."""
        path, graph = call.path, self._program.graph
        entry, inherited = self.fitted[path], self._inherited[path]
        old = rule.matrix(call, inherited[rule.kernel].astype("float64"))
        blocks, inputs, outputs = old.shape
        size = 8 * blocks * (inputs + outputs) ** 2
        if size > self._memory_limit:
            self.left_out.add(
                path, f"its equations take {size:,} bytes, more than half of `memory_limit`"
            )
            return
        y = rule.linear(call, ops.cast(x, "float32"), self._original[path])
        y, kept = ops.convert_to_numpy(y), self._keep(rule.ends(call, graph.labels)[1])
        x = applied_to(call, x_pruned, entry)
        rows = Rows(
            call,
            x,
            blocks,
            inputs,
            images=len(x),
            samples=self._samples,
            seed=graph.calls.calls.index(call),
        )
        for part, chunk in rows.unfold(x):
            chunk = chunk.astype("float64")
            rest = rows.outputs(y[part], kept) - chunk @ old
            self._moments[path].add(np.concatenate([chunk, rest], axis=2))
        norm = self.fitted.get(self._norms.get(path))
        means, second = self._moments[path].centered("bias" in entry or norm is not None)
        gram, cross = second[:, :inputs, :inputs], second[:, :inputs, inputs:]
        try:
            change = solve(gram, cross, self._moments[path].count, self._ridge)
        except Unsolvable as reason:
            self.left_out.add(path, reason)
            return
        intercept = means[:, None, inputs:] - means[:, None, :inputs] @ change
        entry.update(inherited)
        write_fit(call, entry, norm, old + change, intercept)

    def _normalize(self, call: Call, x: Any) -> None:
        """Re-estimates the statistics of a batch norm."""
        mean, variance = find_rule(call.operation).statistics(call, ops.cast(x, "float32"))
        self.fitted[call.path]["moving_mean"] = ops.convert_to_numpy(mean)
        self.fitted[call.path]["moving_variance"] = ops.convert_to_numpy(variance)


def _original(x: Any) -> Any:
    return x.original if isinstance(x, _Pair) else x


def _pruned(x: Any) -> Any:
    return x.pruned if isinstance(x, _Pair) else x


def bytes_per_image(program: Program, arrays: Weights, images: Any) -> int:
    """Bytes of the tensors that `Program.walk` holds at its widest point, for each image.

    Args:
        program: The program.
        arrays: Weights and sizes.
        images: Structure of arrays like the model's inputs; the first image runs through.
    """
    graph, sizes = program.graph, {}

    def step(call: Call, entry: Any, args: tuple, kwargs: dict) -> Any:
        outputs = program.step(call, entry, args, kwargs)
        flat = [ops.convert_to_numpy(x).nbytes for x in keras.tree.flatten(outputs)]
        sizes.update(zip(call.outputs, flat, strict=True))
        return outputs

    image = keras.tree.map_structure(lambda x: x[:1], images)
    inputs = keras.tree.flatten(graph.calls.inputs)
    sizes.update(zip(inputs, (x.nbytes for x in keras.tree.flatten(image)), strict=True))
    program.walk(arrays, image, step)
    last: dict[Value, int] = {}
    for index, call in enumerate(graph.calls.calls):
        last.update(dict.fromkeys(call.inputs, index))
    last.update(dict.fromkeys(keras.tree.flatten(graph.calls.outputs), len(graph.calls.calls)))
    live = widest = sum(sizes[value] for value in inputs)
    for index, call in enumerate(graph.calls.calls):
        live += sum(sizes[value] for value in call.outputs)
        widest = max(widest, live)
        live -= sum(sizes[value] for value, at in last.items() if at == index)
    return widest
