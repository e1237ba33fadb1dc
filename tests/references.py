"""Independent references: what the results of tfrcp are held against."""

from __future__ import annotations

import keras
import numpy as np

from tests.counting import count_cost
from tfrcp import slice_model, trace
from tfrcp.graph.atoms import along
from tfrcp.graph.calls import Value
from tfrcp.graph.program import Program
from tfrcp.graph.weights import layer_at, read_weights, slice_weights
from tfrcp.scoring.running import run_model
from tfrcp.space.cost import CostModel

#: Products of two tensors, in which a channel that is zero in one of them takes no part.
PRODUCTS = ("Matmul", "Einsum", "Dot", "Attention", "AdditiveAttention")


def to_float(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def flat(outputs):
    """The outputs of a model as a list of float32 arrays."""
    return [to_float(x) for x in keras.tree.flatten(outputs)]


def randomize(model, seed=0):
    """Sets all weights, batch norm statistics included, to random numbers of a sane size."""
    rng = np.random.default_rng(seed)
    depthwise = {
        id(layer.kernel)
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D)
    }
    for variable in model.variables:
        shape = variable.shape
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, shape))
        elif variable.name in ("beta", "bias", "moving_mean"):
            variable.assign(rng.normal(0, 0.3, shape))
        elif variable.name in ("alpha", "scale"):
            variable.assign(rng.uniform(-0.5, 0.5, shape))
        elif variable.name.endswith("kernel"):
            alone = id(variable) in depthwise or variable.name == "depthwise_kernel"
            fan_in = np.prod(shape[:-2] if alone else shape[:-1])
            variable.assign(rng.normal(0, 1 / np.sqrt(fan_in), shape))


def images_for(model, count=3, seed=1):
    """Random images in the structure of the model's inputs."""
    rng = np.random.default_rng(seed)

    def draw(tensor):
        shape = [8 if n is None else n for n in tensor.shape[1:]]
        return rng.normal(size=(count, *shape)).astype("float32")

    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.tree.map_structure(draw, structure)


def full_masks(graph):
    return {group.name: np.ones(group.size, dtype=bool) for group in graph.prunable}


def random_masks(graph, seed):
    """Keeps a random number of random channels of every group."""
    rng = np.random.default_rng(seed)
    masks = {}
    for group in graph.prunable:
        kept = rng.permutation(group.size)[: rng.integers(1, group.size + 1)]
        masks[group.name] = np.isin(np.arange(group.size), kept)
    return masks


def one_channel_masks(graph):
    """Keeps the last channel of every group."""
    return {group.name: np.arange(group.size) == group.size - 1 for group in graph.prunable}


def counts_of(graph, masks):
    return np.array([masks[group.name].sum() for group in graph.prunable])


def variable_at(model, piece):
    """The variable that a `WeightSlice` is about."""
    layer = layer_at(model, piece.layer)
    return next(v for v in layer.variables if v.path.endswith(f"/{piece.weight}"))


def zero(model, graph, masks, roles, spared=()):
    """Sets the weights of the removed channels to zero, where their role is among `roles`."""
    for group in graph.prunable:
        for piece in group.slices:
            if piece.role not in roles or piece.weight in spared:
                continue
            variable = variable_at(model, piece)
            values = np.moveaxis(keras.ops.convert_to_numpy(variable).copy(), piece.axis, 0)
            values[(piece.channel_of >= 0) & ~masks[group.name][piece.channel_of]] = 0
            variable.assign(np.moveaxis(values, 0, piece.axis))


def masked_outputs(model, graph, masks, images):
    """Outputs of the original with the removed channels masked where they are consumed.

    The input axes of the consumers' kernels are zeroed. The model is as before in the end.
    """
    weights = model.get_weights()
    zero(model, graph, masks, ("input",))
    outputs = flat(run_model(model)(images))
    model.set_weights(weights)
    return outputs


def walked_outputs(model, graph, masks, images):
    """Outputs of the original, call by call, with all its weights and every channel there.

    What is removed is zero wherever it is read. Where a call depends on all channels together, as
    normalization and means over channels do, it is run on those that are left.
    """
    program, keep, weights = Program(graph), graph.keep(masks), read_weights(graph, model)
    sliced = slice_weights(graph, weights, masks)
    together = {name for group in graph.groups for name in group.normalized}

    def masked(value, x):
        if not isinstance(value, Value):
            return x
        return keras.ops.where(keep(graph.labels[value]), x, keras.ops.zeros_like(x))

    def step(call, entry, args, kwargs):
        pairs = (call.args, dict(call.kwargs)), (args, kwargs)
        args, kwargs = keras.tree.map_structure(masked, *pairs)
        kept = keep(graph.labels[call.inputs[0]])
        if call.path not in together or call.kind in PRODUCTS or kept.all():
            return program.step(call, entry, args, kwargs)
        axis = int(np.argmax(kept.shape))
        here = np.flatnonzero(kept)
        y = program.step(
            call, sliced.get(call.path), (keras.ops.take(args[0], here, axis),), kwargs
        )
        if graph.labels[call.outputs[0]].size == 1:
            return y
        full = np.zeros(args[0].shape, "float32")
        full[(slice(None),) * axis + (here,)] = to_float(y)
        return keras.ops.cast(full, y.dtype)

    whole = slice_weights(graph, weights, {})
    for place in graph.places:
        if place.role == "input":  # of attention, the heads
            kept = along(keep(place.labels), place.axis, weights[place.path][place.weight].ndim)
            whole[place.path][place.weight] = whole[place.path][place.weight] * kept
    return flat(program.interpret(whole, program.pack(images), step))


def removed_outputs(model, graph, masks, images):
    """Outputs of the original with the removed channels taken out by hand.

    They are masked where they are consumed, as `masked_outputs` does, and layers that normalize
    over channels take those that are left into account only. Nothing is sliced.
    """
    names = dict.fromkeys(name for group in graph.groups for name in group.normalized)
    kept = {name: np.ones(0, bool) for name in names}
    for group in graph.groups:
        for piece in group.slices:
            if piece.layer in kept:
                here = kept[piece.layer]
                here = np.ones(len(piece.channel_of), bool) if not len(here) else here
                mask = masks.get(group.name, np.ones(group.size, bool))
                kept[piece.layer] = here & ((piece.channel_of < 0) | mask[piece.channel_of])
    if {call.path for call in graph.calls.calls if not hasattr(call.operation, "_layers")} & {
        *kept
    }:
        return walked_outputs(model, graph, masks, images)
    layers = {name: layer_at(model, name) for name in names}
    for name, layer in layers.items():
        layer.call = _normalize_over(layer, kept[name])
    try:
        return masked_outputs(model, graph, masks, images)
    finally:
        for layer in layers.values():
            del layer.call


def _normalize_over(layer, kept):
    """The layer's call, with means over the kept channels, bool array [channels]."""

    def call(x):
        x = to_float(x)
        axis = int(np.ravel(layer.axis)[0]) % x.ndim
        x = np.moveaxis(x, axis, -1)
        groups = getattr(layer, "groups", 1)
        rows = x.reshape(*x.shape[:-1], groups, -1)
        some = np.broadcast_to(kept.reshape(groups, -1), rows.shape)
        over = (
            (-1,) if groups == 1 and not hasattr(layer, "groups") else (*range(1, x.ndim - 1), -1)
        )
        mean = 0.0
        if not isinstance(layer, keras.layers.RMSNormalization):
            mean = rows.mean(over, keepdims=True, where=some)
        spread = ((rows - mean) ** 2).mean(over, keepdims=True, where=some)
        y = ((rows - mean) / np.sqrt(spread + layer.epsilon)).reshape(x.shape)
        for name in ("gamma", "scale"):
            weight = getattr(layer, name, None)
            y = y * to_float(weight) if isinstance(weight, keras.Variable) else y
        beta = getattr(layer, "beta", None)
        y = y + to_float(beta) if beta is not None else y
        return keras.ops.cast(np.moveaxis(y, -1, axis), layer.compute_dtype)

    return call


def plant_dead(model, graph, masks):
    """Zeroes all that makes the removed channels, so that their value is zero everywhere."""
    zero(model, graph, masks, ("output", "channelwise"), spared=("moving_variance",))


def permute(model, graph, orders):
    """Puts the channels of every group into another order; the model's outputs stay.

    Args:
        orders: Maps group names to permutations: the new channel j is the old one `order[j]`.
    """
    for group in graph.prunable:
        for piece in group.slices:
            variable = variable_at(model, piece)
            old = np.moveaxis(keras.ops.convert_to_numpy(variable), piece.axis, 0)
            new = old.copy()
            for channel, source in enumerate(orders[group.name]):
                here = np.flatnonzero(piece.channel_of == channel)
                new[here] = old[piece.channel_of == source]
            variable.assign(np.moveaxis(new, 0, piece.axis))


def assert_close(outputs, expected, tolerance=1e-4):
    """Holds lists of arrays against each other: difference relative to 1 + the largest entry."""
    shapes, wanted_shapes = [x.shape for x in outputs], [x.shape for x in expected]
    if shapes != wanted_shapes:
        raise AssertionError(f"shapes {shapes}, expected {wanted_shapes}")
    for index, (output, wanted) in enumerate(zip(outputs, expected, strict=True)):
        error = np.abs(output - wanted).max() / (1 + np.abs(wanted).max())
        if not error < tolerance:
            raise AssertionError(f"output {index} is off by {error:.2g}, allowed {tolerance:.2g}")


def assert_consistent(model, masks=None, *, images=None, tolerance=1e-4, sized=True):
    """Prunes a model at random and holds all that tfrcp says of the result against each other.

    Args:
        model: The model; gets random weights.
        masks: Seeds of random masks, or functions from a graph to masks.
        images: Its inputs; random by default.
        tolerance: See `assert_close`.
        sized: Whether the image size is fixed, so that the cost is known.
    """
    randomize(model)
    images = images_for(model) if images is None else images
    graph, before = trace(model), model.get_weights()
    program, weights = Program(graph), read_weights(graph, model)
    run = program.compile(program.run, program.fold(slice_weights(graph, weights, {})))
    cost = CostModel(graph) if sized else None
    expected = flat(run_model(model)(images))
    for choose in (full_masks, one_channel_masks, 1, 2) if masks is None else masks:
        kept = choose(graph) if callable(choose) else random_masks(graph, choose)
        reference = masked_outputs(model, graph, kept, images)
        if choose is full_masks:
            assert_close(reference, expected, 1e-6)
        pruned = slice_model(model, graph, kept)
        assert_close(flat(run_model(pruned)(images)), reference, tolerance)
        arrays = slice_weights(graph, weights, kept)
        assert_close(flat(program.run(arrays, images)), reference, tolerance)
        assert_close(flat(run(program.fold(arrays), images)), reference, tolerance)
        if sized:
            found = tuple(int(n[0]) for n in cost(counts_of(graph, kept)))
            if found != count_cost(pruned):
                raise AssertionError(f"cost {found}, counted {count_cost(pruned)}")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
