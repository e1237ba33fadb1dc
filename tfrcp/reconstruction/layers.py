"""Layers as linear equations: the rows that images give, and what a fit changes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.calls import Call, Value
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.rules import KernelRule, find_rule
from tfrcp.reconstruction.segments import as_numpy

_CHUNK = 2**24  # bytes of rows that are made at a time; see `AT_ONCE`


def kernel_rule(call: Call, entry: Mapping[str, Any] | None) -> KernelRule | None:
    """The rule of a call whose kernel can be fitted, `None` for any other call.

    Args:
        call: The call.
        entry: Its weights, `None` if it has none with channels.
    """
    rule = find_rule(call.operation)
    fits = isinstance(rule, KernelRule) and entry is not None and rule.kernel in entry
    return rule if fits else None


def applied_to(call: Call, x: Any, entry: Mapping[str, Any]) -> np.ndarray:
    """What the kernel is applied to, given the layer's input; float32 array [images, ...]."""
    mixed = find_rule(call.operation).mixed(call, ops.cast(x, "float32"), entry)
    return as_numpy(mixed)


class Rows:
    """The equations that one call gives: which output positions enter, and what they see.

    Args:
        call: The call of a layer with a kernel.
        x: What the kernel is applied to, array [images, ...]; only its shape is looked at.
        blocks: Number of blocks.
        inputs: Number of inputs of a block, those of all window positions together.
        images: Number of images in all.
        samples: How many equations there shall be for each input of a block, drawn at random among
            the output positions, the same ones in all images; `None` for all positions.
        most: How many equations there may be at most, so that all images have their share of them,
            at least one each; `None` for no limit.
        seed: Int.

    Attributes:
        left_out: How many equations are missing for that.
        few: Whether they are a small part of all output positions.
    """

    def __init__(
        self,
        call: Call,
        x: np.ndarray,
        blocks: int,
        inputs: int,
        *,
        images: int,
        samples: int | None,
        most: int | None = None,
        seed: int,
    ) -> None:
        self._call, self._rule = call, find_rule(call.operation)
        self._blocks = blocks
        sizes = list(x.shape)
        del sizes[self._rule.axis(call)], sizes[0]
        windows = self._rule.windows(call, sizes)
        count = len(windows)
        if samples is not None:
            count = min(count, math.ceil(samples * inputs / images))
        share = count if most is None else min(count, max(1, most // images))
        self.left_out = images * (count - share)
        self._positions = np.arange(len(windows))
        if share < len(windows):
            order = np.random.default_rng(seed).permutation(len(windows))
            self._positions = np.sort(order[:share])
        self._windows = windows[self._positions]
        self.few = 2 * self._windows.size <= len(windows)
        self._step = max(1, _CHUNK // (8 * blocks * inputs * len(self._windows)))

    def unfold(self, x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Lays out what the kernel is applied to, some images at a time.

        Args:
            x: Array [images, ...].

        Yields:
            Tuple of the slice of images and an array [blocks, images x positions, inputs].
        """
        for start in range(0, len(x), self._step):
            part = slice(start, start + self._step)
            yield part, self._rule.unfold(self._call, x[part], self._windows, self._blocks)

    def seen(self, x: Any) -> Any:
        """What these positions see, by operations of the backend, so that it can be compiled.

        Args:
            x: Tensor [images, ...].

        Returns:
            Tensor [images, positions x window, channels], for `laid_out`.
        """
        return self._rule.seen(self._call, x, self._windows)

    def laid_out(self, seen: np.ndarray) -> np.ndarray:
        """The equations, array [blocks, images x positions, inputs], of what `seen` returns."""
        return self._rule.laid_out(seen, len(self._windows), self._blocks)

    def products(self, x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """What a kernel of one block gives at these positions.

        Args:
            x: What it is applied to, array [images, ...].
            matrix: The kernel, array [1, inputs, outputs], perhaps of other channels.

        Returns:
            Array [1, images x positions, outputs].
        """
        return self._rule.unfold(self._call, x, self._windows, 1) @ matrix

    def outputs(self, y: np.ndarray) -> np.ndarray:
        """Lays out the layer's outputs likewise.

        Args:
            y: Array [images, ...].

        Returns:
            Array [blocks, images x positions, outputs of a block].
        """
        y = np.moveaxis(y, self._rule.axis(self._call), -1)
        y = y.reshape(len(y), -1, y.shape[-1])[:, self._positions]
        count = len(y) * len(self._positions)
        return y.reshape(count, self._blocks, -1).transpose(1, 0, 2)


def write_fit(
    call: Call,
    entry: dict[str, Any],
    norm: dict[str, Any] | None,
    matrix: np.ndarray,
    intercept: np.ndarray,
) -> None:
    """Writes fitted weights into the arrays of a layer.

    Args:
        call: The layer's call.
        entry: The layer's arrays; changed in place.
        norm: Those of the batch norm that alone reads the layer, if there is one; changed in place
            where the layer has no bias to hold the intercept.
        matrix: The kernel as matrices [blocks, inputs, outputs].
        intercept: What the layer's outputs shall be raised by [blocks, outputs].
    """
    rule = find_rule(call.operation)
    kernel = entry[rule.kernel]
    entry[rule.kernel] = rule.from_matrix(call, matrix, kernel.shape).astype(kernel.dtype)
    intercept = intercept.reshape(-1).astype(kernel.dtype)
    if "bias" in entry:
        entry["bias"] = entry["bias"] + intercept
    elif norm is not None:
        norm["moving_mean"] = norm["moving_mean"] - intercept


def other_terms(graph: ChannelGraph) -> dict[Value, tuple[Value, ...]]:
    """Maps every tensor that is read by an addition alone to the other terms."""
    read = Counter(value for call in graph.calls.calls for value in call.inputs)
    read.update(keras.tree.flatten(graph.calls.outputs))
    others = {}
    for call in graph.calls.calls:
        if call.kind == "Add" and len({value.shape for value in call.inputs}) == 1:
            for value in call.inputs:
                rest = tuple(other for other in call.inputs if other is not value)
                if len(rest) == len(call.inputs) - 1:
                    others[value] = rest if read[value] == 1 else ()
    return others
