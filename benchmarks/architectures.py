"""What tfrcp finds in every network of `keras.applications`: a table in Markdown, figures in JSON.

Each network is built without weights at its smallest legal input with ten classes, traced, pruned
at random to about half its multiply-adds, and checked: the compiled program and the sliced model
agree, the predicted costs are those of the sliced model, and the sliced model equals the original
with the removed channels masked where they are consumed, wherever masking is exact.

python benchmarks/architectures.py [--only=ResNet50,NASNetLarge] [--out=docs/architectures.md]
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from pathlib import Path

import numpy as np

_LEAST = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", default="", help="names, separated by commas")
    arguments.add_argument("--out", default="docs/architectures.md")
    arguments = arguments.parse_args()

    import keras

    names = arguments.only.split(",") if arguments.only else _names(keras)
    out = Path(arguments.out)
    file = out.with_suffix(".json")
    rows = json.loads(file.read_text()) if arguments.only and file.exists() else {}
    for name in names:
        rows[name] = examine(name)
        print(name, rows[name], flush=True)
        keras.backend.clear_session()
        gc.collect()
    file.write_text(json.dumps(rows, indent=1, sort_keys=True))
    out.write_text(page(rows))


def _names(keras) -> list[str]:
    found = vars(keras.applications).items()
    return sorted(name for name, x in found if name[0].isupper() and callable(x))


def examine(name: str) -> dict:
    """Builds, traces, prunes and checks one network."""
    import keras

    import tfrcp

    size = _LEAST.get(name, 32)
    build = getattr(keras.applications, name)
    model = build(weights=None, input_shape=(size, size, 3), classes=10, classifier_activation=None)
    random = np.random.default_rng(0)
    for variable in model.variables:
        if variable.name in ("gamma", "moving_variance"):
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
    images = random.normal(size=(2, size, size, 3)).astype("float32")
    pruned = tfrcp.slice_model(model, graph, masks)
    expected = np.asarray(pruned(images))
    program = run_program(graph, model, masks, images)
    made, prunable = convolution_channels(graph)
    normalized = any(group.normalized for group in graph.prunable)
    counted = tfrcp.CostModel(tfrcp.trace(pruned)).full
    return {
        "input": size,
        "flops": cost.full.flops,
        "params": cost.full.params,
        "groups": len(graph.prunable),
        "prunable_share": round(prunable / made, 4),
        "frozen": sorted({group.reason for group in graph.groups if not group.prunable}),
        "uncounted": list(cost.uncounted),
        "seconds": round(seconds, 2),
        "program_difference": difference(program, expected),
        "masked_difference": None
        if normalized
        else difference(masked(model, graph, masks, images), expected),
        "cost_exact": bool(
            cost.full.params == model.count_params()
            and cost(channels).params[0] == pruned.count_params()
            and cost(channels).flops[0] == counted.flops
        ),
    }


def run_program(graph, model, masks, images) -> np.ndarray:
    """Outputs of the compiled program on sliced, folded weights."""
    from tfrcp.graph.program import Program, read_weights, slice_weights

    program, weights = Program(graph), read_weights(graph, model)
    run = program.compile(program.run, program.fold(slice_weights(graph, weights, {})))
    return np.asarray(run(program.fold(slice_weights(graph, weights, masks)), images))


def masked(model, graph, masks, images) -> np.ndarray:
    """Outputs of the original with the removed channels masked where they are consumed."""
    from tfrcp.graph.program import variables_of

    variables, before = variables_of(graph, model), model.get_weights()
    for group in graph.prunable:
        for piece in group.slices:
            if piece.role == "input":
                values = np.asarray(variables[piece.layer][piece.weight]).copy()
                kernel = np.moveaxis(values, piece.axis, 0)
                kernel[(piece.channel_of >= 0) & ~masks[group.name][piece.channel_of]] = 0
                variables[piece.layer][piece.weight].assign(np.moveaxis(kernel, 0, piece.axis))
    outputs = np.asarray(model(images))
    model.set_weights(before)
    return outputs


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


def page(rows: dict) -> str:
    """The table."""
    lines = [
        "# Architectures",
        "",
        "Every network of `keras.applications`, at its smallest legal input with ten classes, as "
        "`benchmarks/architectures.py` found it. Multiply-adds are per image; one multiply-add is "
        "one FLOP. *Prunable* is the share of the convolutions' output channels that can be "
        "removed. *Program* and *masked* are the largest differences of the outputs, relative to "
        "the largest output, between the model sliced to about half its multiply-adds and the "
        "compiled program, and the original with the removed channels masked where they are "
        "consumed; masking is not exact where a layer normalizes over channels. *Cost* says "
        "whether the predicted multiply-adds and weights are those of the sliced model. In all "
        "networks the classifier's outputs are frozen: they are the model's.",
        "",
        "| network | input | multiply-adds | weights | groups | prunable | trace | program | "
        "masked | cost |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in sorted(rows.items()):
        exact = row["masked_difference"]
        lines.append(
            f"| {name} | {row['input']} | {row['flops'] / 1e6:,.1f} M | {row['params'] / 1e6:.2f} "
            f"M | {row['groups']} | {row['prunable_share']:.1%} | {row['seconds']:.2f} s | "
            f"{row['program_difference']:.0e} | {'not exact' if exact is None else f'{exact:.0e}'} "
            f"| {'exact' if row['cost_exact'] else 'WRONG'} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
