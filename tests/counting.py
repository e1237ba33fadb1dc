"""An independent count of what a model costs."""

from __future__ import annotations

import itertools
import math

import keras
import numpy as np


def count_cost(model):
    """MACs, weights and activations of a model, layer by layer in closed form.

    Nested models are looked into; unknown layers count nothing but weights. Activations are the
    outputs of convolutions and dense layers alone.
    """
    flops, activations = _count(model, {})
    return flops, model.count_params(), activations


def _count(model, known):
    """MACs and activations; `known` maps the inputs of nested models to their shapes."""
    flops = activations = 0
    functional = getattr(model, "_functional", None) or model
    shape_of = lambda x: known.get(id(x), x.shape)  # noqa: E731
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        for node in functional._nodes_by_depth[depth]:
            if node.is_input:
                continue
            layer, shapes = node.operation, [shape_of(x) for x in node.input_tensors]
            if isinstance(layer, keras.Model):
                inner = getattr(layer, "_functional", None) or layer
                inside = {id(x): s for x, s in zip(inner.inputs, shapes, strict=True)}
                more = _count(layer, inside)
                known.update(
                    (id(y), inside.get(id(x), x.shape))
                    for x, y in zip(inner.outputs, node.outputs, strict=True)
                )
                flops, activations = flops + more[0], activations + more[1]
                continue
            if any(s != x.shape for s, x in zip(shapes, node.input_tensors, strict=True)):
                specs = [keras.KerasTensor(s) for s in shapes]
                out = layer.compute_output_spec(*specs if len(specs) == 1 else [specs])
                pairs = zip(node.outputs, keras.tree.flatten(out), strict=True)
                known.update((id(y), z.shape) for y, z in pairs)
            target = shape_of(node.outputs[0])
            if type(layer).__name__ in ("Einsum", "Matmul"):
                flops += _product(layer, shapes, target)
                continue
            work = _work(layer, _channels_last(layer, shapes[0]), _channels_last(layer, target))
            if work is not None:
                flops += int(work)
                if not isinstance(layer, _WHOLE):
                    activations += int(np.prod(target[1:]))
    return flops, activations


def _product(operation, shapes, target):
    """Multiply-adds of a product of two tensors, neither of which is a weight."""
    if type(operation).__name__ == "Matmul":
        return int(np.prod(target[1:])) * shapes[0][-1]
    terms = operation.subscripts.split("->")[0].split(",")
    sizes = dict(zip("".join(terms), itertools.chain(*shapes), strict=True))
    return math.prod(n for letter, n in sizes.items() if letter != terms[0][0])


#: Layers of which the outputs are not counted as activations.
_WHOLE = (
    keras.layers.MultiHeadAttention,
    keras.layers.GroupQueryAttention,
    keras.layers.TimeDistributed,
    keras.layers.LSTM,
)


def _channels_last(layer, shape):
    if getattr(layer, "data_format", None) == "channels_first":
        return (shape[0], *shape[2:], shape[1])
    return shape


def _work(layer, source, target):
    """MACs of one call, `None` if the layer is not of those that are counted."""
    if not (source and target):
        return None
    inputs, outputs, positions = source[-1], target[-1], np.prod(target[1:-1], dtype=int)
    window = np.prod(getattr(layer, "kernel_size", 1))
    match type(layer).__name__:
        case "Conv1D" | "Conv2D" | "Conv3D":
            return window * inputs // layer.groups * outputs * positions
        case "DepthwiseConv1D" | "DepthwiseConv2D":
            return window * outputs * positions
        case "SeparableConv1D" | "SeparableConv2D":
            return (window + outputs) * inputs * layer.depth_multiplier * positions
        case "Conv1DTranspose" | "Conv2DTranspose" | "Conv3DTranspose":
            return window * inputs * outputs * np.prod(source[1:-1])
        case "Dense" | "TimeDistributed":
            return inputs * outputs * positions
        case "EinsumDense":
            terms = layer.equation.split("->")[0].split(",")
            sizes = dict(zip(terms[0], source, strict=True))
            sizes |= dict(zip(terms[1], layer.kernel.shape, strict=True))
            return math.prod(n for letter, n in sizes.items() if letter != terms[0][0])
        case "LSTM":
            return positions * 4 * outputs * (inputs + outputs)
        case "MultiHeadAttention":
            projections = (3 * inputs + outputs) * layer.num_heads * layer.key_dim * positions
            return projections + 2 * positions**2 * layer.num_heads * layer.key_dim
        case "GroupedQueryAttention":
            heads, pairs = layer.num_query_heads, layer.num_key_value_heads
            projections = (inputs * (heads + 2 * pairs) + heads * outputs) * positions
            return layer.head_dim * (projections + 2 * positions**2 * heads)
