"""Tells what can be pruned in a saved model and what it costs; needs no data.

python bin/profile.py --model=FILE.keras
"""

import common
from absl import flags

_MODEL = flags.DEFINE_string("model", None, "A .keras file.")
_MIN_RATIO = flags.DEFINE_float("min_ratio", 0.1, "Least share of its channels that a group keeps.")
_DIVISOR = flags.DEFINE_integer("divisor", 1, "Channel counts are multiples of it.")


def main() -> None:
    """Prints the explanation, the cost table and the feasible range."""
    import tfrcp

    graph = tfrcp.trace(tfrcp.models.load_keras(_MODEL.value))
    print(graph.explain())
    cost = tfrcp.CostModel(graph)
    space = tfrcp.SearchSpace(graph, min_ratio=_MIN_RATIO.value, divisor=_DIVISOR.value)
    print(f"\n{'':<12}{'multiply-adds':>18}{'share':>8}{'weights':>16}{'activations':>16}")
    for name, channels in (
        ("unpruned", graph.full),
        ("smallest", space.smallest),
        ("largest", space.largest),
    ):
        flops, params, activations = (int(n[0]) for n in cost(channels))
        share = flops / cost.full.flops
        print(f"{name:<12}{flops:>18,}{share:>8.3f}{params:>16,}{activations:>16,}")
    print(
        "Per image; one multiply-add is one FLOP, counted for convolutions and dense layers. "
        f"Targets from smallest to largest can be met; groups keep at least {_MIN_RATIO.value:g} "
        f"of their channels, in multiples of {_DIVISOR.value}."
    )


if __name__ == "__main__":
    common.run(main, "model", "min_ratio", "divisor")
