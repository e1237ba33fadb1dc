"""Whether channel counts in round numbers run faster on this machine.

Kernels work on channels in packs of 4, 8 or 16, so that a network with fewer MACs but odd
widths can be slower than a wider one. Here networks with random widths and the same MACs,
once free and once in multiples of a divisor, take turns with the unpruned network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from tfrcp.deployment import latency
from tfrcp.deployment.bundle import Writer, measure_written
from tfrcp.graph.inheritance import first_channels, slice_model
from tfrcp.graph.trace import trace
from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.sampling import RandomSampler
from tfrcp.space.space import SearchSpace


@dataclasses.dataclass(frozen=True)
class Variants:
    """Networks whose widths are multiples of one divisor.

    Attributes:
        divisor: The divisor.
        flops: Mean MACs, a share of the unpruned network's.
        ratio: Their median time per image, a share of the unpruned network's, with its interval.
    """

    divisor: int
    flops: float
    ratio: latency.Ratio

    @property
    def saving(self) -> float:
        """Share of the saving in MACs that is realised as speed-up."""
        return (1 - self.ratio.ratio) / (1 - self.flops)


@dataclasses.dataclass(frozen=True)
class Advice:
    """What was measured for every divisor.

    Attributes:
        unpruned: Latency of the unpruned network.
        variants: Tuple of `Variants`, one for each divisor.
    """

    unpruned: latency.Latency
    variants: tuple[Variants, ...]

    @property
    def divisor(self) -> int:
        """The recommended divisor: the fastest, or a smaller one that is not clearly slower."""
        best = min(self.variants, key=lambda v: v.ratio.ratio)
        return min(v.divisor for v in self.variants if v.ratio.low <= best.ratio.high)

    def __str__(self) -> str:
        lines = [
            f"unpruned: {self.unpruned}",
            f"{'divisor':>8}{'MACs':>16}{'time':>8}{'95 % interval':>18}{'realised':>10}",
        ]
        lines += [
            f"{v.divisor:>8}{v.flops:>16.3f}{v.ratio.ratio:>8.3f}"
            f"{f'{v.ratio.low:.3f} to {v.ratio.high:.3f}':>18}{f'{100 * v.saving:.0f} %':>10}"
            for v in self.variants
        ]
        chosen = next(v for v in self.variants if v.divisor == self.divisor)
        lines.append(
            "MACs and time as shares of the unpruned network's; last, the share of "
            f"the saving in MACs that is realised as speed-up. Recommended: divisor {self.divisor}."
        )
        if chosen.saving < 0.8:
            lines.append(
                "Less than four fifths of the saving are realised: on this machine, with this "
                "batch size, part of the time does not depend on the channels."
            )
        return "\n".join(lines)


def advise(
    model: keras.Model,
    *,
    divisors: Sequence[int] = (1, 8),
    flops: float = 0.5,
    tolerance: float = 0.02,
    min_ratio: float = 0.1,
    networks: int = 3,
    batch_size: int = 64,
    repeats: int = 20,
    threads: int | None = None,
    seed: int = 0,
    write: Writer = lambda model, folder: model,
) -> Advice:
    """Measures networks of several divisors side by side.

    Args:
        model: The unpruned network.
        divisors: The divisors to compare.
        flops: MACs of the networks, a share of the unpruned network's.
        tolerance: How far they may be off, likewise.
        min_ratio: Least share of its channels that a group keeps.
        networks: Networks with random widths for each divisor.
        batch_size: Images per run.
        repeats: Timed runs of each network.
        threads: As in `tfrcp.deployment.latency.measure`.
        seed: Of the widths.
        write: Makes of a network what is timed, such as a file in the folder that it is handed.

    Raises:
        ValueError: If the target cannot be met with a divisor.
    """
    graph = trace(model)
    cost, budget = CostModel(graph), Budget(flops, tolerance=tolerance)
    vectors = {}
    for divisor in divisors:
        space = SearchSpace(graph, min_ratio, divisor=divisor)
        vectors[divisor] = RandomSampler(space, cost, budget, seed).suggest(networks)

    def made() -> Iterator[tuple[str, keras.Model]]:
        yield "unpruned", model
        for divisor, chosen in vectors.items():
            for number, channels in enumerate(chosen):
                masks = first_channels(graph.prunable, channels)
                yield f"{divisor}-{number}", slice_model(model, graph, masks)

    options = {"batch_size": batch_size, "repeats": repeats, "threads": threads}
    times = measure_written(made(), write, **options)
    variants = []
    for divisor, chosen in vectors.items():
        runs = np.mean([times[f"{divisor}-{n}"].runs for n in range(networks)], axis=0)
        together = dataclasses.replace(times["unpruned"], runs=tuple(runs.tolist()))
        share = float(cost(chosen).flops.mean() / cost.full.flops)
        variants.append(Variants(divisor, share, latency.ratio(together, times["unpruned"])))
    return Advice(times["unpruned"], tuple(variants))
