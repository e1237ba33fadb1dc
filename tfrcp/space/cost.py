"""What a pruned network costs: thousands of channel vectors at once, and no model is built."""

from __future__ import annotations

from collections import defaultdict, namedtuple
from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np

from tfrcp.graph.calls import Call
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.rules import Product, find_rule
from tfrcp.space.costs import COSTS, LayerUse
from tfrcp.space.counting import multiply_adds

_CHUNK = 512  # vectors at a time: what they need fits a processor's cache


class Costs(NamedTuple):
    """Costs of a network, per image; where `COSTS` has further ones they follow, by their names.

    Attributes:
        flops: MACs of all convolution and dense layers, and of what no rule knows, as far
            as it can be counted (one MAC is one FLOP).
            Biases, normalization, activations and pooling are not counted.
        params: Number of all weights, moving statistics included.
        activations: Number of elements in the outputs of all convolution and dense layers.
    """

    flops: np.ndarray
    params: np.ndarray
    activations: np.ndarray


class CostModel:
    """The cost of every channel vector of a traced model.

    Each cost is a sum of products of at most two numbers of kept channels, that is a quadratic form
    of the channel vector with a one appended: a pool of configurations is evaluated with one matrix
    product.

    Args:
        graph: The trace.

    Attributes:
        full: `Costs` of the unpruned model, ints.
        forms: `Costs` of the quadratic forms, float arrays [prunable groups + 1, prunable groups +
            1] of whole numbers, upper triangular: a cost is v . form . v, where v = [channels, 1].
        units: What each cost is counted in, by name.
        constant: MACs by path of the operations that no rule knows, counted in
            TensorFlow's own graph (`tfrcp.space.counting`): part of `flops`, whatever is pruned.
        uncounted: Paths of those that cannot be counted: their MACs are missing in
            `flops`.

    Raises:
        ValueError: If the model leaves its image size open, or has a batch of a fixed size of which
            it treats parts otherwise than others.
    """

    def __init__(self, graph: ChannelGraph) -> None:
        self.graph = graph
        self.constant: dict[str, int] = {}
        self._uncounted: list[str] = []
        self.units = {name: cost.unit for name, cost in COSTS.items()}
        self._record = _record(tuple(COSTS))
        sums = [_Polynomial(graph) for _ in COSTS]
        for use in self._uses():
            for cost, total in zip(COSTS.values(), sums, strict=True):
                for product in cost.products(use):
                    total.add(product)
        self.uncounted = tuple(dict.fromkeys(self._uncounted))
        self.forms = self._record(*(total.form for total in sums))
        self._stacked = np.concatenate(self.forms, axis=1)
        self.full = self._record(*(int(n[0]) for n in self(graph.full[None])))

    @property
    def out_of_reach(self) -> float:
        """Share of the unpruned MACs that no pruning changes, in [0, 1]."""
        return float(self.forms.flops[-1, -1] / max(self.full.flops, 1))

    def _uses(self) -> Iterator[LayerUse]:
        """Every use of a layer; notes the MACs of what no rule knows."""
        graph, seen = self.graph, set()
        axes: dict[str, dict[tuple[str, int], np.ndarray]] = defaultdict(dict)
        for place in graph.places:
            axes[place.path][place.weight, place.axis] = place.labels
        for call in graph.calls.calls:
            rule, macs, channels = find_rule(call.operation), None, None
            if call.path in graph.unknown or call.path in graph.proven:
                rule, macs = None, multiply_adds(call)
                if macs is None:
                    self._uncounted.append(call.path)
            if call.path in graph.proven:  # each channel takes the same share
                channels = graph.labels[call.outputs[0]].ravel()
                channels = None if (macs or 0) % channels.size else channels
            elif macs is not None:
                self.constant[call.path] = self.constant.get(call.path, 0) + macs
            if macs or call.variables:
                self._check_batch(call)
            first = call.path not in seen
            seen.add(call.path)
            yield LayerUse(call, rule, graph.labels, axes[call.path], first, macs, channels)

    def _check_batch(self, call: Call) -> None:
        """Refuses a layer that is given some of the examples, whose cost no single one has."""
        for batch in {v.shape[0] for v in keras.tree.flatten(self.graph.calls.inputs) if v.shape}:
            for value in (*call.inputs, *call.outputs):
                if value.batch == 0 and batch and value.shape[0] and value.shape[0] % batch:
                    raise ValueError(
                        f"The cost of `{call.path}` for one image cannot be told: of a fixed batch "
                        f"of {batch} its first axis holds {value.shape[0]}. Leave the batch size "
                        "of the model open (None), or treat all of a batch alike."
                    )

    def __call__(self, channels: np.ndarray) -> Costs:
        """Costs of channel vectors.

        Args:
            channels: int array [N, prunable groups], or [prunable groups] for a single one.

        Returns:
            `Costs` of int64 arrays [N].

        Raises:
            ValueError: If the array has another shape.
        """
        channels = np.atleast_2d(np.asarray(channels))
        fits = channels.ndim == 2 and channels.shape[1] == len(self.graph.prunable)
        if not fits or (channels.size and channels.dtype.kind not in "iu"):
            raise ValueError(
                f"`channels` must be an int array [N, {len(self.graph.prunable)}], one column for "
                f"each prunable group. Received an array of shape {channels.shape} of type "
                f"{channels.dtype}."
            )
        # Products in float64 are exact: all numbers are whole, none is negative, and the sums stay
        # below 2^53.
        results = np.empty((len(self.forms), len(channels)), dtype="int64")
        for start in range(0, len(channels), _CHUNK):
            part = channels[start : start + _CHUNK]
            vectors = np.ones((len(part), channels.shape[1] + 1))
            vectors[:, :-1] = part
            products = (vectors @ self._stacked).reshape(len(part), len(self.forms), -1)
            results[:, start : start + _CHUNK] = np.einsum("nkg,ng->kn", products, vectors)
        return self._record(*results)


class _Polynomial:
    """A sum of products of at most two linear functions of the channel vector."""

    def __init__(self, graph: ChannelGraph) -> None:
        self._graph = graph
        self._one = np.append(np.zeros(len(graph.prunable)), 1)
        self._products: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, product: Product) -> None:
        """Adds a product of the numbers of kept channels in each factor."""
        rows = [self._one, self._one]
        for i, labels in enumerate(product.factors):
            positions, always = self._graph.counts(labels)
            rows[i] = np.append(positions, always).astype(float)
        self._products.append((rows[0], rows[1] * product.coefficient))

    @property
    def form(self) -> np.ndarray:
        """The upper triangular matrix of the sum, of whole numbers: in any order it is exact."""
        if not self._products:
            return np.zeros((len(self._one),) * 2)
        first, second = (np.stack(rows) for rows in zip(*self._products, strict=True))
        table = first.T @ second
        return np.triu(table) + np.tril(table, -1).T


def _record(names: tuple[str, ...]) -> type[Costs]:
    """`Costs`, or the like with more fields."""
    return Costs if names == Costs._fields else namedtuple("Costs", names)
