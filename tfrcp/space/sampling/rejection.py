"""Plain rejection: the reference for uniform sampling, and the way of EagleEye."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfrcp.space.sampling.drawing import DrawingSampler

_BATCH = 4096


@dataclasses.dataclass(eq=False, repr=False)
class RejectionSampler(DrawingSampler):
    """Draws vectors until one meets the budget.

    Without `prune_rates`, every group's count is drawn uniformly: accepted vectors are uniform over
    the feasible ones, and hardly any is accepted in a large network. With them, every group's
    prune rate is drawn uniformly from that range, which is chosen for the target (EagleEye takes
    0 to 0.7 for ResNet-50 at half the MACs): more is accepted, and some of what is
    feasible never comes.

    Li et al., "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning", ECCV 2020.

    Attributes:
        prune_rates: Range of the share of channels that is pruned in each group, or `None`.
    """

    options = ("prune_rates",)
    _: dataclasses.KW_ONLY
    prune_rates: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        rates = self.prune_rates
        if rates is not None and not (len(rates) == 2 and 0 <= rates[0] < rates[1] < 1):
            raise ValueError(
                "`prune_rates` must be two numbers with 0 <= low < high < 1. "
                f"Received: prune_rates={rates!r}"
            )

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of independent widths, all of them wanted."""
        vectors = np.empty((_BATCH, len(self.space.choices)), dtype="int64")
        for block in self.space.blocks:
            options = block.options
            if self.prune_rates is None:
                vectors[:, block.columns] = options[
                    self._random.integers(len(options), size=_BATCH)
                ]
            else:
                size = self.space.graph.full[block.columns[block.widest]]
                wanted = size * (1 - self._random.uniform(*self.prune_rates, _BATCH))
                vectors[:, block.columns] = block.nearest(wanted)
        return vectors, np.ones(_BATCH, dtype=bool)
