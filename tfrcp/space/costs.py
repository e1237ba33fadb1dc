"""The costs of a network, one class each: what every use of a layer adds.

A cost of one's own is a subclass of `Cost` and one more line in `COSTS`; cost models, budgets and
samplers then have it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from tfrcp.graph.calls import Call, named_variables
from tfrcp.graph.rules import Axes, EinsumHeadsRule, KernelRule, Product, Rule
from tfrcp.graph.rules.base import Labels, known_line, positions


@dataclasses.dataclass(frozen=True, eq=False)
class LayerUse:
    """One use of a layer or operation, which costs are counted of.

    Attributes:
        call: The call.
        rule: What is known of its kind; `None` where no rule knows it.
        labels: Maps every tensor to the labels of its channels.
        axes: Maps (weight, axis) of the layer to the labels along that axis.
        first: Whether this is the first use of the layer, with which its weights count.
        macs: MACs of one that no rule knows, unpruned; `None` if they cannot be counted.
        channels: The channels that share these alike, where each passes alone; `None` where the
            MACs stay whatever is pruned.
    """

    call: Call
    rule: Rule | None
    labels: Labels
    axes: Axes
    first: bool
    macs: int | None = None
    channels: np.ndarray | None = None


class Cost:
    """A cost: a sum of products of at most two numbers of kept channels.

    Attributes:
        name: Its name in `Costs` and `Budget`.
        unit: What it is counted in, for messages.
    """

    name = ""
    unit = ""

    def products(self, use: LayerUse) -> Iterable[Product]:
        """What one use of a layer adds, per image: no coefficient may be negative.

        Args:
            use: The use.

        Returns:
            `Product`s, with at most two factors each.
        """
        raise NotImplementedError


class Flops(Cost):
    """MACs of all layers with a rule, and of the others as far as they can be counted."""

    name, unit = "flops", "MACs"

    def products(self, use: LayerUse) -> Iterable[Product]:
        """What a rule says of its layer; a constant for what no rule knows."""
        if use.rule is not None:
            return use.rule.products(use.call, use.labels, use.axes)
        if use.macs is None:
            return []
        if use.channels is None:
            return [Product(use.macs, ())]
        return [Product(use.macs // use.channels.size, (use.channels,))]


class Params(Cost):
    """Number of all weights, moving statistics included."""

    name, unit = "params", "weights"

    def products(self, use: LayerUse) -> Iterable[Product]:
        """The sizes of the layer's weights, once for all of its uses."""
        weights = getattr(use.call.operation, "weights", ()) if use.first else ()
        counted = {id(weight) for weight in weights}
        for name, variable in named_variables(use.call.operation):
            if id(variable) in counted:
                sliced = [use.axes.get((name, axis)) for axis in range(len(variable.shape))]
                rest = [n for n, s in zip(variable.shape, sliced, strict=True) if s is None]
                yield Product(math.prod(rest), tuple(s for s in sliced if s is not None))


class Activations(Cost):
    """Number of elements in the outputs of all convolution and dense layers."""

    name, unit = "activations", "activations"

    def products(self, use: LayerUse) -> Iterable[Product]:
        """Channels of the output at every position."""
        if isinstance(use.rule, KernelRule):
            count = use.rule.output_positions(use.call)
            _, outputs = use.rule.ends(use.call, use.labels)
            found = use.labels[use.call.outputs[0]]
            if found.size > 1 and (outputs < 0).all():  # channels pass along another axis
                count, outputs = count * len(outputs) // found.size, found.ravel()
            yield Product(count, (outputs,))
        elif isinstance(use.rule, EinsumHeadsRule):
            found = use.labels[use.call.outputs[0]]
            axis = int(np.argmax(found.shape)) if found.size > 1 else -1
            heads = known_line(use.labels, use.call.outputs[0], axis)
            yield Product(positions(use.call, axis), (heads,))


COSTS: dict[str, Cost] = {cost.name: cost for cost in (Flops(), Params(), Activations())}
"""The costs by name."""
