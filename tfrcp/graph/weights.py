"""The weights of a model along which channels lie: read, and sliced to the kept channels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfrcp.graph.calls import Call, named_variables
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.held import HeldWeight
from tfrcp.graph.inside import parts
from tfrcp.graph.rules import find_rule

Weights = dict[str, dict[str, np.ndarray]]


def read_weights(graph: ChannelGraph, model: keras.Model) -> Weights:
    """The weights with channels, of the traced model or of another with the same layers.

    Args:
        graph: The trace.
        model: The model that was traced, or one with equally named layers and weights.

    Returns:
        Dict that maps layer path and weight name to an array.

    Raises:
        ValueError: If a layer is missing or has another shape.
    """
    return {
        path: {name: np.asarray(keras.ops.convert_to_numpy(v)) for name, v in variables.items()}
        for path, variables in variables_of(graph, model).items()
    }


def variables_of(graph: ChannelGraph, model: keras.Model) -> dict[str, dict[str, keras.Variable]]:
    """The variables with channels along an axis, by layer path and weight name."""
    found: dict[str, dict[str, keras.Variable]] = defaultdict(dict)
    for place in graph.places:
        layer = layer_at(model, place.path)
        variable = dict(named_variables(layer)).get(place.weight)
        if variable is None or variable.shape[place.axis] != len(place.labels):
            raise ValueError(
                f"The weight '{place.weight}' of layer '{place.path}' in model '{model.name}' is "
                f"not as it was traced: length {len(place.labels)} expected on axis {place.axis}. "
                f"Received: {None if variable is None else tuple(variable.shape)}. Trace this "
                "model."
            )
        found[place.path][place.weight] = variable
    return dict(found)


def layer_at(model: keras.Model, path: str) -> keras.layers.Layer:
    """The layer of a model at a path, such as "backbone/conv1", composite layers included.

    A weight that such a layer holds itself has a path, too: `HeldWeight` stands for it.

    Raises:
        ValueError: If there is none.
    """
    layer = model
    try:
        for name in path.split("/"):
            layer = parts(layer)[name]
    except KeyError as error:
        raise ValueError(
            f"The model '{model.name}' has no layer '{path}', so it is not the one that was "
            "traced. Trace this model."
        ) from error
    return HeldWeight(layer) if isinstance(layer, keras.Variable) else layer


def slice_weights(
    graph: ChannelGraph, weights: Weights, masks: Mapping[str, np.ndarray]
) -> Weights:
    """Weights and sizes of the model in which only the kept channels are left.

    Args:
        graph: The trace.
        weights: All weights with channels, as `read_weights` returns them.
        masks: Maps group names to bool arrays [size]; groups that are not named are kept whole.

    Returns:
        Dict that maps the path of a layer to its sliced weights, and the key of a call to the sizes
        that its rule names.
    """
    keep = graph.keep(masks)
    arrays = {path: dict(entry) for path, entry in weights.items()}
    for place in graph.places:
        kept = keep(place.labels)
        if not kept.all():
            entry = arrays[place.path]
            entry[place.weight] = entry[place.weight].compress(kept, axis=place.axis)
    for call in graph.calls.calls:
        if call.path in graph.given_up:
            continue
        sizes = find_rule(call.operation).sizes(call, graph.labels, keep)
        if sizes:
            arrays.setdefault(call.key, {}).update(sizes)
    return arrays


def arrays_of(call: Call, arrays: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The weights and sizes of a call, `None` if it has none."""
    if call.key == call.path or call.key not in arrays:
        return arrays.get(call.path)
    return {**arrays.get(call.path, {}), **arrays[call.key]}
