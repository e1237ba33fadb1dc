"""The kernels that make a network's channels, as methods of the literature count layers."""

from __future__ import annotations

import numpy as np

from tfrcp.graph.calls import named_variables
from tfrcp.graph.channels import ChannelGraph


class Kernels:
    """All kernels that make channels, the last layer's included, in forward order.

    Attributes:
        shapes: Their shapes, tuples of ints, those of convolutions [height, width, in, out].
        of_group: For each prunable group, the indices of the kernels that make it.
    """

    def __init__(self, graph: ChannelGraph) -> None:
        shapes: dict[tuple[str, str], tuple[int, ...]] = {}
        makers = {
            (piece.layer, piece.weight)
            for group in graph.groups
            for piece in group.slices
            if piece.role == "output"
        }
        for call in graph.calls.calls:
            for name, variable in named_variables(call.operation):
                if (call.path, name) in makers and len(variable.shape) > 1:  # not a bias
                    shapes.setdefault((call.path, name), tuple(variable.shape))
        index = {key: number for number, key in enumerate(shapes)}
        self.shapes = list(shapes.values())
        self.of_group = [
            sorted(
                {
                    index[piece.layer, piece.weight]
                    for piece in group.slices
                    if (piece.layer, piece.weight) in index and piece.role == "output"
                }
            )
            for group in graph.prunable
        ]

    def ratios(self, densities: np.ndarray) -> np.ndarray:
        """Shares of channels that make up for shares of single weights.

        A kernel that keeps the share r of its inputs and of its outputs keeps r^2 of its weights.
        So a group keeps the square root of the mean density of the kernels that make it.

        Args:
            densities: Float array [kernels], shares of weights, up to a factor.

        Returns:
            Float array [prunable groups], up to a factor.
        """
        means = [np.mean(densities[own]) if own else densities.mean() for own in self.of_group]
        return np.sqrt(means)
