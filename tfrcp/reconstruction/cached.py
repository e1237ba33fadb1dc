"""Least squares from the statistics of the original network: small solves for every candidate."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.graph.calls import Call
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.program import Program
from tfrcp.graph.rules import KernelRule, find_rule
from tfrcp.graph.weights import Weights, read_weights, slice_weights
from tfrcp.reconstruction.blocked_statistics import images_at_once
from tfrcp.reconstruction.calibration import calibration_images
from tfrcp.reconstruction.equations import (
    Equations,
    LeftOut,
    Unsolvable,
    check_options,
    moments,
    warn_of_ignored,
)
from tfrcp.reconstruction.layers import Rows, kernel_rule, write_fit
from tfrcp.reconstruction.segments import as_numpy, inputs_of


@dataclasses.dataclass(eq=False)
class Layer:
    """A layer that can lose inputs.

    Attributes:
        call: Its first call.
        rule: Its rule.
        kernel: Its kernel.
        inputs: Labels along the kernel's input axis.
        outputs: Labels along the kernel's output axis.
        axis: That axis.
        norm: Path of the batch norm that alone reads the layer, if there is one.
        equations: What its inputs are, once they are known.
        variances: Variances of the outputs [out], once they are known.
    """

    call: Call
    rule: KernelRule
    kernel: np.ndarray
    inputs: np.ndarray
    outputs: np.ndarray
    axis: int
    norm: str | None
    equations: Equations | None = None
    variances: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of blocks and of inputs of a block."""
        return self.rule.matrix(self.call, self.kernel).shape[:2]

    @property
    def gram_bytes(self) -> int:
        """Bytes of the second moments."""
        blocks, inputs = self.shape
        return 8 * blocks * inputs**2


class CachedLeastSquares:
    """Fits the kernels of pruned networks to what the original layers compute.

    For every convolution and dense layer that loses inputs, W' and b minimize the mean over samples
    of

        |W'^T x_k + b - W^T x|^2 + eps |W' - W_k|^2,

    x being the unfolded inputs in the original network, x_k those that are kept, W_k the weights
    that they had, and eps `ridge` times the mean square of x_k. The second moments G of x are
    gathered once, in one pass over the images; then W' = W_k + (G_kk + eps I)^-1 G_kr W_r, r being
    the removed inputs. A layer with no more samples than inputs keeps the samples themselves and is
    solved in their space, with the same result. Where inputs vary too little to tell, weights stay
    what they were. A layer that loses no input stays whole, and so does a depthwise convolution,
    each channel of which sees itself alone.

    The intercept b is fitted where there is a place for it: the layer's bias, or the moving mean of
    the batch norm that alone reads the layer. G is about the mean then. Elsewhere b is 0.

    The part of the outputs that x_k cannot tell is missing from their variance. Statistics that are
    re-estimated afterwards would blow up the rest to the old variance, so the scale of that batch
    norm (where it has one) takes the ratio of the standard deviations, and its moving variance that
    of the variances: the network stays the same, and recalibration keeps the fit.

    Args:
        model: The unpruned model.
        graph: Its trace.
        data: Calibration images: a batched `tf.data.Dataset`, a tuple of arrays (x, y), x alone,
            or a `PyDataset`; labels are not used.
        count: How many images to use. Defaults to all.
        ridge: Float, not negative.
        samples: How many equations to gather for each input of a layer (channels times window
            positions), drawn among the output positions of the images; `None` for all.
        memory_limit: Bytes that the second moments of all layers may take together, 8 times the
            squared number of inputs each. Of the largest, which do not fit beside the others, the
            first samples are kept instead, in what is left. Solving takes up to three times the
            largest on top.
        verbose: Whether to show progress.

    Attributes:
        left_out: Dict that maps the path of a layer that keeps inherited weights to the reason;
            every candidate may add to it.

    Raises:
        ValueError: If an argument is out of range, or the images are not what the model takes.
    """

    def __init__(
        self,
        model: keras.Model,
        graph: ChannelGraph,
        data: Any,
        *,
        count: int | None = None,
        ridge: float = 1e-5,
        samples: int | None = 100,
        memory_limit: int = 4 * 2**30,
        verbose: bool = True,
    ) -> None:
        check_options(ridge, samples, memory_limit)
        images = calibration_images(graph, data, count)
        self._graph, self._ridge = graph, ridge
        program, weights = Program(graph), read_weights(graph, model)
        layers = {layer.call.path: layer for layer in layers_losing_inputs(program, weights)}
        self.left_out = LeftOut()
        limits = _limits(layers, memory_limit)
        for path, layer in layers.items():
            two_samples = 4 * layer.gram_bytes / layer.shape[1]
            if limits[path] < min(layer.gram_bytes, two_samples):
                self.left_out.add(
                    path,
                    f"the second moments of its inputs take {layer.gram_bytes:,} bytes, too much "
                    f"beside those of smaller layers for memory_limit={memory_limit:,}",
                )
        self._layers = {p: layer for p, layer in layers.items() if p not in self.left_out}
        self._moments = {path: moments(limits[path], ridge) for path in self._layers}
        full = slice_weights(graph, weights, {})
        self._gather(program, full, images, samples, verbose)

    def __call__(self, arrays: Weights, masks: Mapping[str, np.ndarray]) -> Weights:
        """Fits the kernels of one pruned network.

        Args:
            arrays: Its inherited weights, as `tfrcp.graph.weights.slice_weights` returns them.
            masks: Maps group names to bool arrays [size]: what the weights were sliced by.

        Returns:
            Arrays like `arrays`, which are not changed.
        """
        keep = self._graph.keep(masks)
        fitted = {path: dict(entry) for path, entry in arrays.items()}
        for path, layer in self._layers.items():
            kept = keep(layer.inputs)
            if not kept.all():
                try:
                    _fit(layer, fitted, kept, keep(layer.outputs), self._ridge)
                except Unsolvable as reason:
                    self.left_out.add(path, reason)
        return fitted

    def _gather(
        self, program: Program, arrays: Weights, images: Any, samples: int | None, verbose: bool
    ) -> None:
        """Runs the original network on all images and sums up the moments of its layers' inputs."""
        sums, self._moments = self._moments, {}
        rows: dict[Call, Rows] = {}
        total = len(keras.tree.flatten(images)[0])

        def seen(arrays: Weights, inputs: Any) -> list[Any]:
            """What the layers see at the positions that enter; chooses these the first time."""
            found = []

            def step(call: Call, entry: Mapping[str, Any] | None, args: tuple, kwargs: dict) -> Any:
                layer = self._layers.get(call.path)
                if layer is not None:
                    x = ops.cast(args[0], "float32")
                    x = find_rule(call.operation).mixed(call, x, entry)
                    if call not in rows:
                        options = {"images": total, "samples": samples, "seed": len(rows)}
                        most = sums[call.path].most(*layer.shape, 0)
                        rows[call] = Rows(call, x, *layer.shape, most=most, **options)
                        sums[call.path].ignored += rows[call].left_out
                    found.append(rows[call].seen(x))
                return program.step(call, entry, args, kwargs)

            program.interpret(arrays, inputs, step)
            return found

        def inputs(part: slice) -> Any:
            return program.pack(list(inputs_of(program, images, part).values()))

        # Batch norms folded into the layers before do not change what layers are given.
        folded, batch = program.fold(arrays), images_at_once(program, arrays, images)
        seen(folded, inputs(slice(1)))
        run = program.compile(seen, folded) if total > batch else seen
        progress = keras.utils.Progbar(total, verbose=int(verbose), unit_name="image")
        with np.errstate(over="ignore", invalid="ignore"):  # `solve` tells what is not finite
            for start in range(0, total, batch):
                part = inputs(slice(start, start + batch))
                try:
                    found = run(folded, part)
                except Exception:  # whatever a layer does that cannot be compiled
                    if run is seen:
                        raise
                    run = seen
                    found = run(folded, part)
                for call, x in zip(rows, found, strict=True):
                    sums[call.path].add(rows[call].laid_out(as_numpy(x)))
                progress.update(min(start + batch, total))
            for path, layer in self._layers.items():
                intercept = layer.norm is not None or "bias" in arrays[path]
                found = sums.pop(path)
                warn_of_ignored(path, found)
                layer.equations = found.equations(intercept)
                matrix = layer.rule.matrix(layer.call, layer.kernel.astype("float64"))
                layer.variances = layer.equations.variances(matrix)


def _limits(layers: Mapping[str, Layer], limit: int) -> dict[str, float]:
    """Bytes that each layer may take: the smallest what they need, the others what is left."""
    limits: dict[str, float] = {}
    left = limit
    for path, layer in sorted(layers.items(), key=lambda item: item[1].gram_bytes):
        fits = layer.gram_bytes <= left
        limits[path] = layer.gram_bytes if fits else left / (len(layers) - len(limits))
        left -= limits[path]
    return limits


def layers_losing_inputs(program: Program, weights: Weights) -> Iterator[Layer]:
    """The layers that some candidate may take inputs from."""
    graph = program.graph
    norms = {layer.path: norm.path for norm, layer in program.folds.items()}
    places = {(place.path, place.weight, place.role): place for place in graph.places}
    for call in graph.calls.calls:
        rule = kernel_rule(call, weights.get(call.path))
        source = places.get((call.path, rule.kernel, "input")) if rule else None
        if source is None or not graph.counts(source.labels)[0].any():
            continue
        target = places[call.path, rule.kernel, "output"]
        kernel = weights[call.path][rule.kernel]
        norm = norms.get(call.path)
        yield Layer(call, rule, kernel, source.labels, target.labels, target.axis, norm)


def _fit(
    layer: Layer, arrays: Weights, kept: np.ndarray, kept_outputs: np.ndarray, ridge: float
) -> None:
    """Fits one layer, in place.

    Args:
        layer: The layer.
        arrays: Arrays of all layers.
        kept: Which channels of its input are kept, bool array.
        kept_outputs: Which channels of its output are kept, bool array.
        ridge: As for `solve`.

    Raises:
        Unsolvable: If it cannot be done.
    """
    equations = layer.equations
    kept = np.tile(kept, equations.means.shape[1] // len(kept))
    kernel = layer.kernel.compress(kept_outputs, axis=layer.axis).astype("float64")
    old = layer.rule.matrix(layer.call, kernel)
    change, after = equations.regain(kept, old, ridge)
    means = equations.means[:, None]
    intercept = (means[..., ~kept] @ old[:, ~kept] - means[..., kept] @ change)[:, 0]
    norm = arrays.get(layer.norm)
    write_fit(layer.call, arrays[layer.call.path], norm, old[:, kept] + change, intercept)
    if norm is not None and "gamma" in norm:
        before = layer.variances[kept_outputs]
        known = (before > 0) & (after > 0)  # not so where rounding is all there is
        share = np.divide(after, before, out=np.ones_like(after), where=known)
        norm["moving_variance"] = norm["moving_variance"] * share.astype("float32")
        norm["gamma"] = norm["gamma"] * np.sqrt(share).astype("float32")
