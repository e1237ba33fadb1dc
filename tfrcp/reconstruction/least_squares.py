"""Fits the weights of a pruned model anew, so that its layers compute what the original's do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tfrcp.arguments import check_choice
from tfrcp.graph.calls import named_variables
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.held import HeldWeight
from tfrcp.graph.parts import Parts
from tfrcp.graph.program import Program
from tfrcp.graph.rebuilding import pruned_path
from tfrcp.graph.weights import Weights, layer_at, read_weights, slice_weights
from tfrcp.reconstruction.cached import CachedLeastSquares
from tfrcp.reconstruction.calibration import calibration_images
from tfrcp.reconstruction.equations import check_options
from tfrcp.reconstruction.sequential import SequentialLeastSquares
from tfrcp.reconstruction.together import run_together

_METHODS = ("sequential", "cached")


def reconstruct(
    pruned: keras.Model,
    model: keras.Model,
    graph: ChannelGraph,
    masks: Mapping[str, np.ndarray],
    data: Any,
    method: str = "sequential",
    *,
    count: int | None = None,
    ridge: float = 1e-5,
    samples: int | None = 100,
    memory_limit: int = 2 * 2**30,
    verbose: bool = True,
) -> dict[str, str]:
    """Fits the kernels and biases of a pruned model to the original's layers, in place.

    Convolutions of all kinds and dense layers are fitted, by regularized least squares, to the
    outputs that the original layers have before norm and activation:

    - "sequential", for the one network that is wanted: the inputs are those of the pruned network,
      layer after layer, and the statistics of batch norms are re-estimated on the way (no
      recalibration is needed afterwards). All images run through both networks.
    - "cached", for many candidates, then through `CachedLeastSquares` itself: the inputs are those
      of the original network. Recalibrate the batch norms afterwards.

    `SequentialLeastSquares` and `CachedLeastSquares` have the formulas. The result depends on the
    images, not on their order or batches (up to rounding).

    Args:
        pruned: What `tfrcp.slice_model` made of `model`; changed in place.
        model: The unpruned model.
        graph: Its trace.
        masks: Maps group names to bool arrays [size]: what `model` was sliced by.
        data: Calibration images: a batched `tf.data.Dataset`, a tuple of arrays (x, y), x alone,
            or a `PyDataset`; labels are not used.
        method: "sequential" or "cached".
        count: How many images to use. Defaults to all.
        ridge: Float, not negative: how strongly weights are held where they are, relative to the
            mean square of a layer's inputs. A layer with about as many samples as inputs follows
            them too closely where inputs vary independently: give more images, or a ridge of 1e-2.
        samples: How many equations to gather for each input of a layer (channels times window
            positions), drawn among the output positions of the images; `None` for all of them.
        memory_limit: Bytes. "sequential": half of it for the tensors that are kept of all images
            (where they need more, parts of the networks are run again), half for the equations of
            one layer. "cached": for the second moments
            of all layers. A layer whose second moments do not fit is fitted to its first samples.
        verbose: Whether to show progress.

    Returns:
        Dict that maps the path of every layer that was left out, keeping the weights that it had,
        to the reason: too little memory, too few samples, an ill-conditioned system. There is a
        warning for each.

    Raises:
        ValueError: If an argument is out of range, the images are not what the model takes, or
            `pruned` is not `model` sliced by `masks`. Nothing is changed then.
    """
    check_choice("method", method, _METHODS)
    check_options(ridge, samples, memory_limit)
    images = calibration_images(graph, data, count)
    program, weights = Program(graph), read_weights(graph, model)
    sliced = slice_weights(graph, weights, masks)
    variables = _variables(pruned, graph, weights, sliced)
    inherited = {path: dict(entry) for path, entry in sliced.items()}
    for path, entry in variables.items():
        inherited[path].update({n: ops.convert_to_numpy(v) for n, v in entry.items()})

    if method == "cached":
        cached = CachedLeastSquares(
            model,
            graph,
            (images,),
            ridge=ridge,
            samples=samples,
            memory_limit=memory_limit,
            verbose=verbose,
        )
        fitted, left_out = cached(inherited, masks), cached.left_out
    else:
        original, keep = slice_weights(graph, weights, {}), graph.keep(masks)
        fitted, left_out = fit_sequentially(
            program,
            original,
            inherited,
            keep,
            images,
            ridge=ridge,
            samples=samples,
            memory_limit=memory_limit,
            verbose=verbose,
        )
    for path, entry in variables.items():
        for name, variable in entry.items():
            variable.assign(fitted[path][name])
    return dict(left_out)


def fit_sequentially(
    program: Program,
    original: Weights,
    inherited: Weights,
    keep: Callable[[np.ndarray], np.ndarray],
    images: Any,
    **options: Any,
) -> tuple[Weights, dict[str, str]]:
    """Fits weights layer by layer; arguments as of `SequentialLeastSquares` and `fit_together`.

    Returns:
        Tuple of the fitted weights, and a dict of what was left out and why.
    """
    return fit_together(program, original, [(inherited, keep)], images, **options)[0]


def fit_together(
    program: Program,
    original: Weights,
    networks: Iterable[tuple[Weights, Callable[[np.ndarray], np.ndarray]]],
    images: Any,
    *,
    ridge: float = 1e-5,
    samples: int | None = 100,
    memory_limit: int = 2**30,
    parts: Parts | None = None,
    verbose: bool = True,
) -> list[tuple[Weights, dict[str, str]]]:
    """Fits several pruned networks layer by layer, while the original runs once for all.

    Args:
        networks: Of each its weights and sizes, and what keeps labels.
        **options: As of `SequentialLeastSquares`, `reconstruct` and `run_together`.

    Returns:
        For each network what `fit_sequentially` returns.
    """
    options = {"ridge": ridge, "samples": samples, "memory_limit": memory_limit // 2}
    fits = [SequentialLeastSquares(program, original, *each, **options) for each in networks]
    run_together(fits, images, verbose=verbose, limit=memory_limit // 2, parts=parts)
    return [(fit.fitted, fit.left_out) for fit in fits]


def _variables(
    pruned: keras.Model, graph: ChannelGraph, weights: Weights, sliced: Weights
) -> dict[str, dict[str, keras.Variable]]:
    """The pruned model's variables by the path of the original's layer, and weight name."""
    found = {}
    # Weights that an opened layer held are tables in the pruned model; nothing is fitted there.
    held = {c.path for c in graph.calls.calls if isinstance(c.operation, HeldWeight)}
    for path, entry in weights.items():
        if path in held:
            continue
        place = pruned_path(graph, path)
        own = dict(named_variables(layer_at(pruned, place)))
        found[path] = {name: own.get(name) for name in entry}
        for name, variable in found[path].items():
            expected = sliced[path][name].shape
            if variable is None or tuple(variable.shape) != expected:
                raise ValueError(
                    "`pruned` must be what `slice_model` makes of `model` with these masks. "
                    f"Received: weight '{name}' of layer '{place}' is "
                    f"{None if variable is None else tuple(variable.shape)}, expected {expected}"
                )
    return found
