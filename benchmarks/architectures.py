"""What tfrcp finds in every network of `keras.applications`: a table in Markdown, figures in JSON.

Each network is built without weights at its smallest legal input with ten classes, traced, pruned
at random to about half its MACs, and checked: the compiled program and the sliced model
agree, the predicted costs are those of the sliced model, and the sliced model equals the original
with the removed channels taken out by hand: masked where they are consumed, and left out wherever a
layer normalizes over channels. Dead channels planted at random are removed, and the outputs stay.

python -m benchmarks.architectures [--only=ResNet50,NASNetLarge] [--out=docs/architectures.md]

Every network is written as soon as it is done; a run that was interrupted goes on after those that
the JSON file holds. `--again` starts anew. `--dtype=float64` is for a network whose random weights
make much of rounding: EfficientNetV2L's turned a change of 1e-7 of the image into one of 0.04 of
the outputs in double precision, and sliced and masked model differed by 4e-3 in single precision.
"""

from __future__ import annotations

import argparse
import gc
import json
import textwrap
import time
from pathlib import Path

import numpy as np

from tests.golden import applications, build, write
from tests.references import flat, plant_dead, removed_outputs


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", default="", help="names, separated by commas")
    arguments.add_argument("--dtype", default="float32", help="of weights and images")
    arguments.add_argument("--again", action="store_true", help="do again what is done")
    arguments.add_argument("--out", default="docs/architectures.md")
    arguments = arguments.parse_args()

    import keras

    out = Path(arguments.out)
    file = out.with_suffix(".json")
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = json.loads(file.read_text()) if file.exists() else {}
    keras.config.set_floatx(arguments.dtype)
    keras.config.set_dtype_policy(arguments.dtype)
    names = arguments.only.split(",") if arguments.only else applications()
    for name in names:
        if arguments.again or name not in rows:
            start = time.perf_counter()
            rows[name] = examine(name, arguments.dtype)
            write(file, rows)
            print(name, rows[name], f"{time.perf_counter() - start:.0f} s", flush=True)
            keras.backend.clear_session()
            gc.collect()
    out.write_text(page(rows))


def examine(name: str, dtype: str) -> dict:
    """Builds, traces, prunes and checks one network."""
    import keras

    import tfrcp

    keras.utils.set_random_seed(0)

    model = build(name)
    size = model.input_shape[1]
    random = np.random.default_rng(0)
    for variable in model.variables:
        # Scales that start at nothing, as ConvNeXt has, would hide what stands before them.
        if variable.name in ("gamma", "moving_variance") or variable.name.startswith("variable"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    start = time.perf_counter()
    graph = tfrcp.trace(model)
    seconds = time.perf_counter() - start
    cost = tfrcp.CostModel(graph)
    sampler = tfrcp.search.RandomSampler(
        tfrcp.SearchSpace(graph), cost, tfrcp.Budget(0.5, tolerance=0.05)
    )
    channels = sampler.suggest(1)[0]
    scores = tfrcp.criteria.get("random")(model, graph)
    masks = tfrcp.select(graph, scores, channels)
    images = random.normal(size=(2, size, size, 3)).astype(dtype)
    pruned = tfrcp.slice_model(model, graph, masks)
    expected = np.asarray(pruned(images))
    program = run_program(graph, model, masks, images)
    (by_hand,) = removed_outputs(model, graph, masks, images)
    made, prunable = convolution_channels(graph)
    counted = tfrcp.CostModel(tfrcp.trace(pruned)).full
    return {
        "input": size,
        "flops": cost.full.flops,
        "params": cost.full.params,
        "groups": len(graph.prunable),
        "prunable_share": round(prunable / made, 4),
        "frozen": sorted({group.reason for group in graph.groups if not group.prunable}),
        "uncounted": list(cost.uncounted),
        "normalized": any(group.normalized for group in graph.prunable),
        "seconds": round(seconds, 2),
        "dtype": dtype,
        "kept_flops": round(float(cost(channels).flops[0] / cost.full.flops), 4),
        "program_difference": difference(program, expected),
        "by_hand_difference": difference(by_hand, expected),
        "dead_difference": dead(model, graph, masks, images),
        "cost_exact": bool(
            cost.full.params == model.count_params()
            and cost(channels).params[0] == pruned.count_params()
            and cost(channels).flops[0] == counted.flops
        ),
    }


def dead(model, graph, masks, images) -> float:
    """Difference that removing planted dead channels makes.

    Channels that are normalized together are left out: there, a dead one changes the others.
    """
    import tfrcp

    apart = [group for group in graph.prunable if not group.normalized]
    some = {group.name: masks[group.name] for group in apart}
    whole = {group.name: np.ones(group.size, bool) for group in graph.prunable}
    plant_dead(model, graph, {**whole, **some})
    (expected,) = flat(model(images))
    return difference(np.asarray(tfrcp.slice_model(model, graph, some)(images)), expected)


def run_program(graph, model, masks, images) -> np.ndarray:
    """Outputs of the compiled program on sliced, folded weights."""
    from tfrcp.graph.program import Program
    from tfrcp.graph.weights import read_weights, slice_weights

    program, weights = Program(graph), read_weights(graph, model)
    run = program.compile(program.run, program.fold(slice_weights(graph, weights, {})))
    return np.asarray(run(program.fold(slice_weights(graph, weights, masks)), images))


def convolution_channels(graph) -> tuple[int, int]:
    """Output channels of all convolutions, and how many of them can be pruned."""
    kinds = {call.path: call.kind for call in graph.calls.calls}
    made = prunable = 0
    for group in graph.groups:
        for piece in group.slices:
            if piece.role == "output" and "Conv" in kinds[piece.layer]:
                here = int((piece.channel_of >= 0).sum())
                made, prunable = made + here, prunable + here * group.prunable
    return made, prunable


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Largest absolute difference, relative to the largest output."""
    return float(f"{np.abs(a - b).max() / np.abs(b).max():.1e}")


INTRODUCTION = (
    "Every network of `keras.applications`, at its smallest legal input with ten classes, as "
    "`benchmarks/architectures.py` found it. MACs are per image; one MAC is "
    "one FLOP. *Prunable* is the share of the convolutions' output channels that can be "
    "removed. The next three columns are the largest differences of the outputs, relative to "
    "the largest output, between the model sliced to about half its MACs and, first, "
    "the compiled *program*; second, the original with the removed channels taken out *by "
    "hand*: masked where they are consumed, and left out of every mean where a layer "
    "normalizes over channels (*); third, with *dead* channels planted, the original itself. "
    "*Cost* says whether the predicted MACs and weights are those of the sliced "
    "model. What is marked (double) was checked in double precision: the random weights drawn "
    "in single precision made so much of rounding that nothing could be told. In all networks "
    "the classifier's outputs are frozen: they are the model's."
)


def page(rows: dict) -> str:
    """The table."""
    lines = [
        "# Architectures",
        "",
        *textwrap.wrap(INTRODUCTION, 100, break_on_hyphens=False),
        "",
        "| network | input | MACs | weights | groups | prunable | trace | program | "
        "by hand | dead | cost |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in sorted(rows.items()):
        double = " (double)" if row["dtype"] == "float64" else ""
        lines.append(
            f"| {name}{double} | {row['input']} | {row['flops'] / 1e6:,.1f} M | "
            f"{row['params'] / 1e6:.2f} M | {row['groups']} | {row['prunable_share']:.1%} | "
            f"{row['seconds']:.2f} s | "
            f"{row['program_difference']:.0e} | {row['by_hand_difference']:.0e}"
            f"{'*' * row['normalized']} | {row['dead_difference']:.0e} | "
            f"{'exact' if row['cost_exact'] and not row['uncounted'] else 'WRONG'} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
