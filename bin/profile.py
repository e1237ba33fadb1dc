"""Tells what can be pruned in a saved model and what it costs; needs no data.

python bin/profile.py --model=FILE.keras [--measure]
python bin/profile.py --model=channels.json [--out=PRUNED.keras]
python bin/profile.py --model=FILE.keras --channels=channels.json [--out=PRUNED.keras]

The second builds the pruned network anew with its builder in tfrcp.models, the third out of the
unpruned network, keeping the channels with the largest weights.
"""

import common
from absl import flags

_MODEL = flags.DEFINE_string("model", None, "A .keras file, or a channels.json.")
_CHANNELS = flags.DEFINE_string("channels", None, "A channels.json to prune the model by.")
_OUT = flags.DEFINE_string("out", None, "Where the pruned network is saved, FILE.keras.")
_MIN_RATIO = flags.DEFINE_float("min_ratio", 0.1, "Least share of its channels that a group keeps.")
_DIVISOR = flags.DEFINE_integer("divisor", 1, "Channel counts are multiples of it.")
_MEASURE = flags.DEFINE_bool("measure", False, "Time rounded and free channel counts; recommend.")
_FORMAT = flags.DEFINE_string(
    "format", "", "What --measure times: the Keras model, or a format as in config.export.format."
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images per timed run.")
_THREADS = flags.DEFINE_integer("threads", None, "Threads of a single operation, when timing.")


def main() -> None:
    """Prints the explanation, the cost table and the feasible range, and what was asked for."""
    import tfrcp

    model = _network()
    graph = tfrcp.trace(model)
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
    if _MEASURE.value:
        advice = tfrcp.deployment.rounding.advise(
            model,
            min_ratio=_MIN_RATIO.value,
            batch_size=_BATCH_SIZE.value,
            threads=_THREADS.value,
            write=tfrcp.deployment.writer(_FORMAT.value),
        )
        print(f"\n{advice}")


def _network():
    """The network to look at; saves it if it was built."""
    import tfrcp

    if _MODEL.value.endswith(".json"):
        plan = tfrcp.ArchitectureSpec.read(_MODEL.value)
        model = plan.build()
    elif _CHANNELS.value:
        plan = tfrcp.ArchitectureSpec.read(_CHANNELS.value)
        model = plan.prune(tfrcp.models.load_keras(_MODEL.value))
    else:
        plan, model = None, tfrcp.models.load_keras(_MODEL.value)
    if _OUT.value:
        if plan is None:
            raise ValueError("--out needs a channels.json to build the network from")
        plan.save(model, _OUT.value)
        print(f"saved: {_OUT.value}\n")
    return model


if __name__ == "__main__":
    common.run(
        main,
        "model",
        "channels",
        "out",
        "min_ratio",
        "divisor",
        "measure",
        "format",
        "batch_size",
        "threads",
    )
