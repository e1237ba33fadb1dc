"""Tells what can be pruned in a saved model and what it costs; needs no data.

tfrcp profile --model=FILE.keras [--measure]
tfrcp profile --model=channels.json [--out=PRUNED.keras]
tfrcp profile --model=FILE.keras --channels=channels.json [--out=PRUNED.keras]

The second builds the pruned network anew with its builder in tfrcp.models, the third out of the
unpruned network, keeping the channels with the largest weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from tfrcp.commands import base

if TYPE_CHECKING:
    import keras


_GIVEN = flags.FLAGS


def run() -> None:
    """Defines the flags and runs the command."""
    flags.DEFINE_string("model", None, "A .keras file, or a channels.json.")
    flags.DEFINE_string("channels", None, "A channels.json to prune the model by.")
    flags.DEFINE_string("out", None, "Where the pruned network is saved, FILE.keras.")
    flags.DEFINE_float("min_ratio", 0.1, "Least share of its channels that a group keeps.")
    flags.DEFINE_integer("divisor", 1, "Channel counts are multiples of it.")
    flags.DEFINE_bool("measure", False, "Time rounded and free channel counts; recommend.")
    flags.DEFINE_string(
        "format",
        "",
        "What --measure times: the Keras model, or a format as in config.export.format.",
    )
    flags.DEFINE_integer("batch_size", 64, "Images per timed run.")
    flags.DEFINE_integer("threads", None, "Threads of a single operation, when timing.")
    costs = "min_ratio", "divisor"
    base.run(
        _main, "model", "channels", "out", *costs, "measure", "format", "batch_size", "threads"
    )


def _main() -> None:
    """Prints the explanation, the cost table and the feasible range, and what was asked for."""
    import tfrcp

    model = _network()
    graph = tfrcp.trace(model)
    print(graph.explain())
    cost = tfrcp.CostModel(graph)
    space = tfrcp.SearchSpace(graph, min_ratio=_GIVEN.min_ratio, divisor=_GIVEN.divisor)
    print(f"\n{'':<12}{'MACs':>18}{'share':>8}{'weights':>16}{'activations':>16}")
    for name, channels in (
        ("unpruned", graph.full),
        ("smallest", space.smallest),
        ("largest", space.largest),
    ):
        flops, params, activations = (int(n[0]) for n in cost(channels))
        share = flops / cost.full.flops
        print(f"{name:<12}{flops:>18,}{share:>8.3f}{params:>16,}{activations:>16,}")
    print(
        "Per image; one multiply-add (MAC) is one FLOP, counted for convolutions and dense layers. "
        f"Targets from smallest to largest can be met; groups keep at least {_GIVEN.min_ratio:g} "
        f"of their channels, in multiples of {_GIVEN.divisor}."
    )
    if _GIVEN.measure:
        advice = tfrcp.deployment.rounding.advise(
            model,
            min_ratio=_GIVEN.min_ratio,
            batch_size=_GIVEN.batch_size,
            threads=_GIVEN.threads,
            write=tfrcp.deployment.writer(_GIVEN.format),
        )
        print(f"\n{advice}")


def _network() -> keras.Model:
    """The network to look at; saves it if it was built."""
    import tfrcp

    if _GIVEN.model.endswith(".json"):
        plan = tfrcp.ArchitectureSpec.read(_GIVEN.model)
        model = plan.build()
    elif _GIVEN.channels:
        plan = tfrcp.ArchitectureSpec.read(_GIVEN.channels)
        model = plan.prune(tfrcp.models.load_keras(_GIVEN.model))
    else:
        plan, model = None, tfrcp.models.load_keras(_GIVEN.model)
    if _GIVEN.out:
        if plan is None:
            raise ValueError("--out needs a channels.json to build the network from")
        plan.save(model, _GIVEN.out)
        print(f"saved: {_GIVEN.out}\n")
    return model
