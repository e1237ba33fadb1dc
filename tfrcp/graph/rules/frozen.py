"""Operations that are known and counted, but through which channels are not followed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from keras import layers

from tfrcp.graph.atoms import Atoms
from tfrcp.graph.calls import Call
from tfrcp.graph.rules.base import Axes, Labels, Product, Rule

#: The recurrent layers and cells of which the MACs are known.
RECURRENT = (
    layers.ConvLSTM1D,
    layers.ConvLSTM2D,
    layers.ConvLSTM3D,
    layers.GRU,
    layers.GRUCell,
    layers.LSTM,
    layers.LSTMCell,
    layers.SimpleRNN,
    layers.SimpleRNNCell,
)


class FrozenRule(Rule):
    """Freezes what the operation reads; its MACs are known.

    Args:
        reason: Why.
        count: Gives the MACs of a call per image.
        counts: Whether `count` knows those of a call. Defaults to all calls.
    """

    def __init__(
        self,
        reason: str,
        count: Callable[[Call], int],
        *,
        counts: Callable[[Call], bool] = lambda call: True,
    ) -> None:
        self._reason, self._count, self._counts = reason, count, counts

    def trace(self, call: Call, atoms: Atoms) -> None:
        """Freezes the inputs; the outputs carry no channels of ours."""
        atoms.give_up(call, self._reason)
        if not self._counts(call):
            atoms.unknown[call.path] = call.kind

    def products(self, call: Call, labels: Labels, axes: Axes) -> Sequence[Product]:
        """A number that no pruning changes."""
        return (Product(self._count(call), ()),)


def is_recurrent(call: Call) -> bool:
    """Whether a recurrent layer is one of Keras's, no cell of somebody's own."""
    return type(_one_way(call)) in RECURRENT


def _one_way(call: Call) -> layers.Layer:
    """The recurrent layer, without a `Bidirectional` around it."""
    layer = call.operation
    return layer.forward_layer if isinstance(layer, layers.Bidirectional) else layer


def recurrent(call: Call) -> int:
    """Steps x the sizes of all kernels; times the positions in a convolutional one."""
    inner = _one_way(call)
    kernels = sum(math.prod(v.shape) for v in call.operation.variables if v.name.endswith("kernel"))
    cell = getattr(inner, "cell", None)
    steps = (call.inputs[0].sizes[1],) if cell is not None else ()
    rank, shape = getattr(cell, "rank", 0), call.outputs[0].sizes
    last = getattr(inner, "data_format", "channels_last") == "channels_last"
    window = shape[-1 - rank : -1] if last else shape[len(shape) - rank :]
    return _known(call, (*steps, *(window if rank else ()))) * kernels


def reverse_embedding(call: Call) -> int:
    """`ReversibleEmbedding`: reading a row is free, the projection back is a matrix product."""
    if not (call.kwargs.get("reverse") or call.args[1:2] == (True,)):
        return 0
    return _known(call, (*call.outputs[0].sizes, call.inputs[0].shape[-1]))


def _known(call: Call, sizes: Sequence[int | None]) -> int:
    """The product of sizes.

    Raises:
        ValueError: If one is unknown.
    """
    if None in sizes:
        raise ValueError(
            f"The cost of `{call.path}` depends on a size that the model leaves open. Give "
            "`tfrcp.trace` an `input_shape`."
        )
    return math.prod(sizes)
