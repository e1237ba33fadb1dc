"""What the predictions change by when a channel is masked."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.arguments import check_int
from tfrcp.criteria.base import Criterion, finite_weights
from tfrcp.criteria.compiling import compiled
from tfrcp.criteria.images import batches, check_finite, read_images
from tfrcp.criteria.progress import Progress
from tfrcp.graph.calls import Calls
from tfrcp.graph.channels import ChannelGraph, ChannelGroup
from tfrcp.graph.program import Program
from tfrcp.graph.weights import Weights, slice_weights
from tfrcp.scoring import losses
from tfrcp.scoring.objectives import is_classifier


class KLDivergence(Criterion):
    r"""The divergence of the predictions without the channel: \(KL(q_j \| p)\), mean over images.

    \[\sum_c q_{jc} \log \frac{q_{jc}}{p_c}\]

    in nats, p being the predictions of the network and \(q_j\) those with channel j masked. Luo and
    Wu, "Neural Network Pruning with Residual-Connections and Limited-Data", CVPR 2020. A coupled
    channel is masked everywhere at once: it is set to zero where layers read it to mix it with
    others. That equals the network from which `slice_model` has removed this channel, except
    where a normalization over channels (layer or group normalization) sees it before.

    Needs images without labels. It is made for classifiers with one output, logits or
    probabilities. For other models the squared distance of the outputs takes the place of the
    divergence, as a share of the variance of the original ones, the mean over the outputs.
    Every channel costs a forward pass, of the layers from the first that reads it.

    Args:
        images: Images to look at, the first ones; fewer where the data hold fewer.
        batch_size: Images in a forward pass; of no influence but for rounding. The memory of some
            of the largest activations of as many images is needed.
        verbose: Whether to show progress.
    """

    def __init__(self, *, images: int = 256, batch_size: int = 256, verbose: bool = True) -> None:
        self.images = check_int("images", images, 2)
        self.batch_size = check_int("batch_size", batch_size, 1)
        self.verbose = verbose

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {"images": self.images, "batch_size": self.batch_size, "verbose": self.verbose}

    def __call__(
        self, model: keras.Model, graph: ChannelGraph, data: Any = None
    ) -> dict[str, np.ndarray]:
        """Scores every channel of every prunable group; of `data` only the images are used."""
        distance = _divergence(model) if is_classifier(model) else _output_distance
        x, _ = read_images(graph, data, images=self.images)
        relay = _Relay(graph, finite_weights(graph, model))
        scores = {group.name: np.zeros(group.size) for group in graph.prunable}
        count, rounds = len(keras.tree.flatten(x)[0]), list(batches(x, self.batch_size))
        sizes = [sum(group.size for group in each) for each in relay.groups]
        work = sum(size * (relay.legs - leg) for leg, size in enumerate(sizes))
        progress = Progress(
            "kl_divergence",
            sum(sizes) * len(rounds),
            "masks",
            work * len(rounds),
            verbose=self.verbose,
        )
        for batch in rounds:
            tensors = keras.tree.flatten(batch)
            original = [check_finite(output) for output in relay.run(0, tensors)]
            for leg, groups in enumerate(relay.groups):
                for group in groups:
                    for channel in range(group.size):
                        masked = relay.run(leg, tensors, group, channel)
                        scores[group.name][channel] += distance(masked, original) / count
                        progress.advance(1, relay.legs - leg)
                tensors = relay.step(leg, tensors)
        return scores


class _Relay:
    """A network in legs, cut before each first reader of a group, and compiled once.

    A masked network differs from the original only from the first reader on: it starts there, on
    the tensors of the original. Its masks are weights, which the compiled legs take as inputs.

    Args:
        graph: The trace of the model.
        weights: All weights with channels.

    Attributes:
        groups: The groups that are first read where each leg starts.
    """

    def __init__(self, graph: ChannelGraph, weights: Weights) -> None:
        calls = graph.calls.calls
        starts: dict[int, list[ChannelGroup]] = defaultdict(list)
        for group in graph.prunable:
            readers = {piece.layer for piece in group.slices if piece.role == "input"}
            first = next((i for i, call in enumerate(calls) if call.path in readers), len(calls))
            starts[first].append(group)
        bounds = sorted({0, *starts, len(calls)})
        self.groups = [starts.get(start, []) for start in bounds[:-1]]
        arrays = slice_weights(graph, weights, {})
        self._arrays, self._legs, inputs = [], [], []
        for part in _cut(graph, bounds):
            program = Program(part)
            names = {name for call in part.calls.calls for name in (call.path, call.key)}
            folded = program.fold({name: arrays[name] for name in names & arrays.keys()})
            self._arrays.append(keras.tree.map_structure(ops.convert_to_tensor, folded))
            self._legs.append(compiled(program.run, self._arrays[-1], part.calls.inputs))
            inputs.append(part.calls.inputs)
        # What is left of the network from each leg on, as one function.
        self._rest = [lambda arrays, tensors: tensors]
        for index in reversed(range(self.legs)):
            run = functools.partial(_run_legs, self._legs[index], self._rest[0])
            self._rest.insert(0, compiled(run, self._arrays[index:], inputs[index]))

    @property
    def legs(self) -> int:
        """Number of legs."""
        return len(self.groups)

    def step(self, leg: int, tensors: list[Any]) -> list[Any]:
        """Runs one leg of the original network on the tensors that it takes."""
        return self._legs[leg](self._arrays[leg], tensors)

    def run(
        self,
        leg: int,
        tensors: list[Any],
        group: ChannelGroup | None = None,
        channel: int | None = None,
    ) -> list[np.ndarray]:
        """The outputs from the tensors that a leg takes, one channel of a group masked.

        Returns:
            float64 arrays [images, ...], one for each output.
        """
        arrays = self._arrays[leg:]
        if group is not None:
            arrays = [_mask(each, group, channel) for each in arrays]
        outputs = self._rest[leg](arrays, tensors)
        return [ops.convert_to_numpy(output).astype("float64") for output in outputs]


def _run_legs(
    first: Callable[..., Any], rest: Callable[..., Any], arrays: Any, tensors: Any
) -> Any:
    return rest(arrays[1:], first(arrays[0], tensors))


def _cut(graph: ChannelGraph, bounds: list[int]) -> Iterator[ChannelGraph]:
    """Cuts a graph before the calls of these indices; the tensors in between are listed."""
    calls, outputs = graph.calls.calls, keras.tree.flatten(graph.calls.outputs)
    last = {value: index for index, call in enumerate(calls) for value in call.inputs}
    last.update(dict.fromkeys(outputs, len(calls)))
    before = keras.tree.flatten(graph.calls.inputs)
    for start, stop in itertools.pairwise(bounds):
        inside = calls[start:stop]
        made = [*before, *(value for call in inside for value in call.outputs)]
        after = [value for value in made if last.get(value, -1) >= stop]
        yield dataclasses.replace(graph, calls=Calls(inside, before, after))
        before = after


def _mask(
    arrays: Mapping[str, Mapping[str, Any]], group: ChannelGroup, channel: int
) -> dict[str, Mapping[str, Any]]:
    """The arrays of a leg, zero where they read one channel of a group."""
    masked = dict(arrays)
    for piece in group.slices:
        if piece.role == "input" and piece.layer in arrays:
            entry = masked[piece.layer]
            weight = entry[piece.weight]
            shape = [-1 if axis == piece.axis else 1 for axis in range(len(weight.shape))]
            kept = (piece.channel_of != channel).reshape(shape)
            masked[piece.layer] = {**entry, piece.weight: weight * ops.cast(kept, weight.dtype)}
    return masked


def _divergence(model: keras.Model) -> Callable[[list[np.ndarray], list[np.ndarray]], float]:
    """KL(q || p) in nats, summed over the images, q being the first and p the second outputs."""
    probabilities = losses.ends_in_softmax(model)

    def divergence(masked: list[np.ndarray], original: list[np.ndarray]) -> float:
        q, p = (_logarithms(outputs[0], probabilities) for outputs in (masked, original))
        return float((np.exp(q) * (q - p)).sum())

    return divergence


def _output_distance(masked: list[np.ndarray], original: list[np.ndarray]) -> float:
    """Squared distance, as a share of the original outputs' variance, times the images."""
    total = 0.0
    for q, p in zip(masked, original, strict=True):
        spread = np.square(p - p.mean(axis=0)).sum() or 1.0
        total += float(np.square(q - p).sum() / spread)
    return total * len(original[0]) / len(original)


def _logarithms(outputs: np.ndarray, probabilities: bool) -> np.ndarray:
    """Logarithms of the predictions [images, classes], from probabilities or from logits."""
    if probabilities:
        outputs = np.log(np.maximum(outputs, np.finfo("float32").tiny))
    outputs = outputs - outputs.max(axis=1, keepdims=True)
    return outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
