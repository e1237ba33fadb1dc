"""The largest share that a channel has in what the layers that read it compute."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.arguments import check_choice, check_int
from tfrcp.criteria.base import CoupledCriterion, finite_weights
from tfrcp.criteria.compiling import compiled
from tfrcp.criteria.images import batches, check_finite, read_images
from tfrcp.criteria.norm import L1
from tfrcp.criteria.progress import Progress
from tfrcp.criteria.ties import break_ties
from tfrcp.graph.atoms import WeightAxis
from tfrcp.graph.calls import Call
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.program import Program
from tfrcp.graph.rules import KernelRule, find_rule
from tfrcp.graph.rules.depthwise import SeparableRule
from tfrcp.graph.weights import slice_weights

_TINY = float(np.finfo("float32").tiny)
_EPSILON = float(np.finfo("float32").eps)  # sums that the authors' code takes no notice of


class EmpiricalSensitivity(CoupledCriterion):
    r"""The largest share of a channel in the sums of the layers that read it.

    \[\max_{x, i} \frac{w_{ij} a_j(x)}{\sum_k w_{ik} a_k(x)}\]

    over images, positions and output filters i of a convolution or dense layer, \(a_j\) being its
    input. Liebenwein et al., "Provable Filter Pruning for Efficient Neural Networks", ICLR 2020.
    The positive and the negative parts of w and of a are treated apart, so that shares are from 0
    to 1; biases are left out.

    In a convolution \(w_{ij} a_j\) is the sum of channel j's products over the window, and in a
    dense layer behind `Flatten` their sum over the channel's positions: what the layer loses if the
    channel goes. The code that the authors published takes the largest of these products instead,
    and no notice of sums below the precision of float32: `products="largest"`. A depthwise
    convolution only passes its channels on to the layer that mixes them. Where activations cannot
    be seen (attention, wrappers, layers with a rule of one's own), they are taken as all alike, so
    that the weights decide.

    Needs images without labels, and memory for some ten copies of the largest activations of
    `batch_size` images.

    Args:
        images: Images to look at, the first ones; fewer where the data hold fewer.
        batch_size: Images at a time; of no influence but for rounding.
        reduction: "mean", "sum" or "max" over the layers that read a channel.
        normalize: Whether the scores of a layer are first divided by their mean over its inputs.
        products: "sum" or "largest": what a channel contributes to a sum.
        ties: Whether channels with equal scores are ordered by the L1 norm of their weights. Where
            activations are sparse, many channels have the largest possible share of 1: for each
            there is some window in which it alone is active.
        verbose: Whether to show progress.
    """

    place = "layer that reads it"

    def __init__(
        self,
        *,
        images: int = 160,
        batch_size: int = 32,
        reduction: str = "mean",
        normalize: bool = True,
        products: str = "sum",
        ties: bool = True,
        verbose: bool = True,
    ) -> None:
        super().__init__(reduction=reduction, normalize=normalize)
        self.images = check_int("images", images, 2)
        self.batch_size = check_int("batch_size", batch_size, 1)
        check_choice("products", products, ("sum", "largest"))
        if not isinstance(ties, bool):
            raise ValueError(f"`ties` must be a bool. Received: ties={ties!r}")
        self.products, self.ties, self.verbose = products, ties, verbose

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            "images": self.images,
            "batch_size": self.batch_size,
            **super().get_config(),
            "products": self.products,
            "ties": self.ties,
            "verbose": self.verbose,
        }

    def __call__(
        self, model: keras.Model, graph: ChannelGraph, data: Any = None
    ) -> dict[str, np.ndarray]:
        """Scores every channel of every prunable group; of `data` only the images are used."""
        x, _ = read_images(graph, data, images=self.images)
        count = len(keras.tree.flatten(x)[0])
        progress = Progress("empirical_sensitivity", count, "images", count, verbose=self.verbose)
        shares = _Shares(model, graph, largest=self.products == "largest")
        for batch in batches(x, self.batch_size):
            shares.observe(batch)
            size = len(keras.tree.flatten(batch)[0])
            progress.advance(size, size)
        scores = {
            group.name: self.reduce(
                group,
                [
                    (piece.channel_of, shares.largest[piece.layer, piece.weight, piece.axis])
                    for piece in group.slices
                    if piece.role == "input"
                ],
            )
            for group in graph.prunable
        }
        if not self.ties:
            return scores
        made = [group for group in graph.prunable if any(p.role == "output" for p in group.slices)]
        norms = L1().of_groups(model, graph, made)
        return scores | {name: break_ties(scores[name], norm) for name, norm in norms.items()}


class _Shares:
    """Watches the layers of a network and keeps the largest share of each of their inputs.

    Args:
        model: The model.
        graph: Its trace.
        largest: Whether a channel has the share of its largest product, else of their sum.

    Attributes:
        largest: Maps layer, weight and axis to a float64 array [length of the axis].
    """

    def __init__(self, model: keras.Model, graph: ChannelGraph, *, largest: bool) -> None:
        self._singly = largest
        weights = finite_weights(graph, model)
        arrays = slice_weights(graph, weights, {})
        self._graph, self._program = graph, Program(graph)
        self._arrays = keras.tree.map_structure(ops.convert_to_tensor, arrays)
        rules = {call.path: find_rule(call.operation) for call in graph.calls.calls}
        read = {
            (piece.layer, piece.weight, piece.axis)
            for group in graph.prunable
            for piece in group.slices
            if piece.role == "input"
        }
        self._seen: dict[str, WeightAxis] = {}
        self.largest: dict[tuple[str, str, int], np.ndarray] = {}
        for place in graph.places:
            key, rule = (place.path, place.weight, place.axis), rules[place.path]
            if key not in read:
                continue
            self.largest[key] = np.zeros(len(place.labels))
            if isinstance(rule, KernelRule) and place.weight == rule.kernel:
                self._seen[place.path] = place
            else:
                self._update(place, self._alike(weights[place.path][place.weight], place))
        self._run = compiled(self._walk, self._arrays, graph.calls.inputs)

    def observe(self, x: Any) -> None:
        """Runs the network on a batch of images."""
        for path, shares in self._run(self._arrays, x).items():
            self._update(self._seen[path], check_finite(ops.convert_to_numpy(shares)))

    def _update(self, place: WeightAxis, shares: np.ndarray) -> None:
        """Takes account of the shares of the different channels at a place."""
        key = place.path, place.weight, place.axis
        _, channel = self._channels(place.labels)
        self.largest[key] = np.maximum(self.largest[key], shares[channel])

    def _walk(self, arrays: Any, x: Any) -> dict[str, Any]:
        """The shares in each layer that is watched."""
        found: dict[str, Any] = {}

        def step(call: Call, entry: Any, args: tuple, kwargs: dict) -> Any:
            if call.path in self._seen:
                entry32 = {name: ops.cast(array, "float32") for name, array in entry.items()}
                shares = self._shares(call, ops.cast(args[0], "float32"), entry32)
                before = found.get(call.path)
                found[call.path] = shares if before is None else ops.maximum(before, shares)
            return self._program.step(call, entry, args, kwargs)

        self._program.interpret(arrays, x, step)
        return found

    def _shares(self, call: Call, x: Any, arrays: dict[str, Any]) -> Any:
        """The largest share of each different channel of a layer, float32 tensor [channels]."""
        rule, place = find_rule(call.operation), self._seen[call.path]
        name, axis, kernel = place.weight, place.axis, arrays[place.weight]
        in_x, in_kernel = rule.ends(call, self._graph.labels)[0], place.labels
        linear = lambda a, w: rule.linear(call, a, {**arrays, name: w})  # noqa: E731
        if isinstance(rule, SeparableRule):
            # The pointwise convolution alone, of what the depthwise one makes.
            x, in_x = rule.mixed(call, x, arrays), in_kernel
            kernel, axis = ops.reshape(kernel, kernel.shape[-2:]), 0
            linear = lambda a, w: ops.tensordot(a, w, [[rule.axis(call)], [0]])  # noqa: E731

        x = ops.cond(
            ops.any(x < 0),
            lambda: ops.concatenate([ops.maximum(x, 0), ops.maximum(-x, 0)]),
            lambda: x,
        )
        kernels = ops.maximum(kernel, 0), ops.maximum(-kernel, 0)
        sums = [ops.maximum(linear(x, w), _TINY) for w in kernels]
        parts_of = [1.0]
        if self._singly:
            sums = [ops.where(total > _EPSILON, total, np.inf) for total in sums]
            parts_of = list(_single(kernel.shape, self._open(place, len(kernel.shape))))

        def share(in_x: Any, in_kernel: Any) -> Any:
            alone = ops.take(x, in_x, axis=rule.axis(call))
            found = []
            for w, total in zip(kernels, sums, strict=True):
                w = ops.take(w, in_kernel, axis=axis)
                found += [ops.max(linear(alone, w * part) / total) for part in parts_of]
            return ops.max(ops.stack(found))

        return self._each(share, in_x, in_kernel)

    def _each(self, share: Callable[..., Any], in_x: np.ndarray, in_kernel: np.ndarray) -> Any:
        """A function of a channel's positions, in the input and in the kernel, for every channel.

        Channels with as many positions go together. The largest of a channel's positions, where
        they are taken singly.
        """
        numbers, _ = self._channels(in_kernel)
        in_x, in_kernel = self._numbers(in_x), self._numbers(in_kernel)
        alike: dict[tuple[int, int], list[tuple[int, np.ndarray, np.ndarray]]] = defaultdict(list)
        for index, n in enumerate(numbers):
            positions, rows = np.flatnonzero(in_x == n), np.flatnonzero(in_kernel == n)
            pieces = [(positions, rows)]
            if self._singly:  # a row of a grouped kernel reads one position in every group
                positions = positions.reshape(-1, len(rows)).T
                pieces = list(zip(positions, rows[:, None], strict=True))
            for positions, rows in pieces:
                alike[len(positions), len(rows)].append((index, positions, rows))
        largest = ops.zeros(len(numbers))
        for members in alike.values():
            these, positions, rows = (
                ops.convert_to_tensor(np.stack(each)) for each in zip(*members, strict=True)
            )

            def body(i: Any, largest: Any, positions=positions, rows=rows, these=these) -> Any:
                here = ops.equal(ops.arange(len(numbers)), these[i])
                found = ops.maximum(largest, share(positions[i], rows[i]))
                return ops.where(here, found, largest)

            largest = ops.fori_loop(0, len(members), body, largest)
        return largest

    def _alike(self, weight: np.ndarray, place: WeightAxis) -> np.ndarray:
        """The largest share of each different channel, if all activations are alike.

        Returns:
            float64 array [channels].
        """
        numbers, channel = self._channels(place.labels)
        rows = np.moveaxis(weight, place.axis, 0).reshape(len(channel), -1).astype("float64")
        largest = np.zeros(len(numbers))
        for part in (np.maximum(rows, 0), np.maximum(-rows, 0)):
            own = np.zeros((len(numbers), rows.shape[1]))
            (np.maximum if self._singly else np.add).at(own, channel, part)
            total = part.sum(axis=0)
            share = np.divide(own, total, out=np.zeros_like(own), where=total > 0)
            largest = np.maximum(largest, share.max(axis=1))
        return largest

    def _open(self, place: WeightAxis, rank: int) -> list[int]:
        """The axes of a kernel that count the positions of its window: those without channels."""
        taken = {
            p.axis for p in self._graph.places if (p.path, p.weight) == (place.path, place.weight)
        }
        return [axis for axis in range(rank) if rank > 2 and axis not in taken]

    def _channels(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The different channels among labels: their numbers, and which stands at each position."""
        return np.unique(self._numbers(labels), return_inverse=True)

    def _numbers(self, labels: np.ndarray) -> np.ndarray:
        """A number for each position, the same where the same channel stands."""
        group, channel = self._graph.group_of[labels], self._graph.channel_of[labels]
        numbers = group * len(self._graph.channel_of) + channel
        return np.where(labels < 0, -1 - np.arange(len(labels)), numbers)


def _single(shape: tuple[int, ...], axes: list[int]) -> Iterator[np.ndarray]:
    """Arrays that pick one position of a kernel's window each: 1 there, else 0; they broadcast."""
    for position in np.ndindex(*(shape[axis] for axis in axes)):
        chosen = np.ones([1] * len(shape), dtype="float32")
        for axis, index in zip(axes, position, strict=True):
            only = np.arange(shape[axis]) == index
            chosen = chosen * only.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        yield chosen.astype("float32")
