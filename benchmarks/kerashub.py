"""What tfrcp finds in the image networks of KerasHub: a table in Markdown, figures in JSON.

Each network is built small and without weights, traced, pruned at random to about half its MACs
where that can be reached, and checked: the sliced model equals the original with the removed
channels taken out by hand, MACs are those of TensorFlow's own graph before and after, and the model
that was saved and loaded gives the same outputs.

python -m benchmarks.kerashub [--only=ViT,MiT] [--out=docs/kerashub.md]

It needs `pip install keras-hub`. Every network is written as soon as it is done; an interrupted run
goes on after those that the JSON file holds. `--again` starts anew.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import textwrap
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.architectures import difference
from benchmarks.kerashub_networks import CONVOLUTIONAL, backbones
from benchmarks.kerashub_tasks import handed_on, tasks, use
from tests.golden import write
from tests.references import flat, randomize, walked_outputs


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", default="", help="names, separated by commas")
    arguments.add_argument("--again", action="store_true", help="do again what is done")
    arguments.add_argument("--out", default="docs/kerashub.md")
    arguments = arguments.parse_args()

    import keras

    out = Path(arguments.out)
    file = out.with_suffix(".json")
    rows = json.loads(file.read_text()) if file.exists() else {}
    networks = {**backbones(), **(applied := tasks())}
    for name in arguments.only.split(",") if arguments.only else networks:
        if arguments.again or name not in rows:
            start = time.process_time()
            try:
                rows[name] = examine(networks[name], name in applied)
            except Exception as error:  # a network that cannot be pruned is a row, too
                text = str(error).strip().splitlines() or [""]
                rows[name] = {"error": f"{type(error).__name__}: {text[0]}"[:300]}
            write(file, rows)
            print(name, rows[name], f"{time.process_time() - start:.0f} CPU s", flush=True)
            keras.backend.clear_session()
            gc.collect()
    out.write_text(page(rows))


def examine(build, is_task: bool = False) -> dict:
    """Builds, traces, prunes and checks one network."""
    import keras

    import tfrcp

    keras.utils.set_random_seed(0)
    model = build()
    randomize(model)
    random = np.random.default_rng(0)
    for variable in model.variables:
        # Scales that start at nothing would hide what stands before them.
        if any(word in variable.path for word in ("gamma", "scale", "token", "position", "bias_")):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    images = random.normal(size=(2, *model.inputs[0].shape[1:])).astype("float32")
    start = time.process_time()
    graph = tfrcp.trace(model)
    seconds = time.process_time() - start
    cost = tfrcp.CostModel(graph)
    masks, channels = pruned_to_half(graph, cost)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pruned = tfrcp.slice_model(model, graph, masks)
    outputs = flat(pruned(images, training=False))
    try:
        with tempfile.TemporaryDirectory() as folder:
            pruned.save(f"{folder}/pruned.keras")
            again = keras.models.load_model(f"{folder}/pruned.keras")
        kept = type(pruned) is type(again) is type(model)
        loaded = worst(flat(again(images, training=False)), outputs)
    except Exception as error:  # some of KerasHub's own layers cannot be loaded
        kept, loaded = False, f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"
    made, prunable, others = hidden_channels(graph)
    before, after = macs(model), macs(pruned)
    further = {}
    if is_task:
        way = "itself"
        if not pruned.compiled:
            way, whole = "handed on", handed_on(model)
            pruned = tfrcp.slice_model(whole, tfrcp.trace(whole), masks)
        further = {"class": type(pruned).__name__, "way": way, "use": use(pruned, images)}
    return {
        "macs": before,
        "params": cost.full.params,
        "groups": len(graph.prunable),
        "hidden": made,
        "prunable_share": round(prunable / max(made, 1), 4),
        "frozen": others,
        "counted_share": round(cost.full.flops / before, 4),
        "macs_exact": bool(cost.full.flops == before and cost(channels).flops[0] == after),
        "kept_macs": round(after / before, 4),
        "difference": worst(outputs, walked_outputs(model, graph, masks, images)),
        "loaded_difference": loaded,
        "class_kept": kept,
        **further,
        "lost": [str(w.message) for w in caught if str(w.message).startswith("The pruned")],
        "seconds": round(seconds, 2),
    }


def pruned_to_half(graph, cost) -> tuple[dict, np.ndarray]:
    """Random channels: half the MACs if that can be reached, else half of every group."""
    import tfrcp

    channels = np.maximum(graph.full // 2, 1)
    try:
        budget = tfrcp.Budget(0.5, tolerance=0.05)
        channels = tfrcp.search.RandomSampler(tfrcp.SearchSpace(graph), cost, budget).suggest(1)[0]
    except ValueError:  # too much of the network is frozen: its outputs, say
        pass
    random, masks = np.random.default_rng(0), {}
    for group, count in zip(graph.prunable, channels.tolist(), strict=True):
        kept = random.permutation(group.size)[:count]
        masks[group.name] = np.isin(np.arange(group.size), kept)
    return masks, channels


def hidden_channels(graph) -> tuple[int, int, dict[str, int]]:
    """Channels that convolutions, dense layers and heads make, the model's outputs left out: all,
    those that can be pruned, and the others by the reason."""
    made = prunable = 0
    others = Counter()
    for group in graph.groups:
        if group.reason == "model output":
            continue
        for piece in group.slices:
            if piece.role == "output":
                here = int((piece.channel_of >= 0).sum())
                made, prunable = made + here, prunable + here * group.prunable
                if not group.prunable:
                    others[group.reason] += here
    whole = {call.path: call for call in graph.calls.calls if call.path in graph.unknown}
    for path, call in whole.items():
        here = made_inside(call.operation)
        made += here
        if here:
            others[f"{path} ({call.kind}): {graph.calls.closed.get(path, 'it stays whole')}"] += (
                here
            )
    return made, prunable, dict(others)


def made_inside(layer) -> int:
    """Channels that the convolutions and dense layers of a layer make."""
    return sum(
        x.kernel.shape[-1]
        for x in getattr(layer, "_flatten_layers", tuple)()
        if hasattr(x, "kernel") and not type(x).__name__.startswith("Depthwise")
    )


def macs(model) -> int:
    """MACs of one image, counted in TensorFlow's own graph."""
    import keras
    import tensorflow as tf

    from tfrcp.space.counting import multiply_adds_of

    spec = keras.tree.map_structure(
        lambda x: tf.TensorSpec((1, *x.shape[1:]), x.dtype), model.input
    )
    return multiply_adds_of(lambda x: model(x, training=False), [spec])


def worst(outputs, expected) -> float:
    """The largest difference among several outputs, each relative to its largest number."""
    return max(difference(a, b) for a, b in zip(outputs, expected, strict=True))


def loaded_cell(row: dict) -> str:
    """The difference between the sliced model and the same one loaded."""
    found = row["loaded_difference"]
    return "NO" if isinstance(found, str) else f"{found:.0e}"


INTRODUCTION = (
    "Image networks of KerasHub in small configurations (64 x 64 pixels) with random weights, as "
    "`benchmarks/kerashub.py` found them. MACs are per image. *Prunable* is the share of "
    "the channels that convolutions and dense layers make, and of attention heads, that can be "
    "removed; those that are outputs of the model are left out of it: a backbone's outputs are "
    "its features, the residual stream of a transformer among them. *Counted* is the share of the "
    "MACs of TensorFlow's own graph that the cost model has; *exact* says whether both agree for "
    "the original and for the pruned network. *Kept* is the share of the MACs that is left. "
    "*Difference* is the largest one between the outputs of the sliced model and of the original "
    "with the removed channels taken out call by call, relative to the largest output; *loaded* "
    "that between the sliced model and the same one saved and loaded."
)


TASKS = (
    "Pruned as above, then compiled as the task was, fitted for a step on random images and "
    "labels, evaluated, asked to predict, saved and loaded: the loaded model predicts exactly the "
    "same. *Its own* is the class of the task, also when it is loaded. *Plain* is a keras.Model "
    "that is compiled and does all that without the preprocessor. Detectors, whose class computes "
    "loss and boxes, are *handed on*, as [A class of its own](how-to/own_class.md) shows."
)


NOTES = {
    "BASNetImageSegmenter": "its side outputs, which only its loss reads, are counted; the graph "
    "of its inference leaves them out."
}


def page(rows: dict) -> str:
    """The table."""
    lines = [
        "# KerasHub",
        "",
        *textwrap.wrap(INTRODUCTION, 100, break_on_hyphens=False),
        "",
        "| network | kind | MACs | prunable | counted | exact | kept | difference | loaded |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    failed = []
    for name, row in rows.items():
        if "error" in row:
            failed.append(f"- {name}: {row['error']}")
            continue
        kind = "convolutions" if name in CONVOLUTIONAL else "mixed or attention"
        lines.append(
            f"| {name} | {kind} | {row['macs'] / 1e6:.2f} M | {row['prunable_share']:.1%} | "
            f"{row['counted_share']:.2f} | {'yes' if row['macs_exact'] else 'NO'} | "
            f"{row['kept_macs']:.2f} | {row['difference']:.0e} | {loaded_cell(row)} |"
        )
    for name, note in NOTES.items():
        if name in rows:
            lines += ["", *textwrap.wrap(f"{name}: {note}", 100, break_on_hyphens=False)]
    rest = {name: row["frozen"] for name, row in rows.items() if row.get("frozen")}
    if rest:
        lines += [
            "",
            "Channels that stay out, those inside of layers that stay whole included, and why:",
            "",
        ]
    for name, reasons in rest.items():
        told = "; ".join(f"{n} by {x.split('. A KerasTensor')[0]}" for x, n in reasons.items())
        text = f"- {name}, of {rows[name]['hidden']}: {told}"
        lines += textwrap.wrap(text, 100, subsequent_indent="  ", break_on_hyphens=False)
    used = {name: row for name, row in rows.items() if "use" in row}
    if used:
        lines += ["", "## Tasks", "", *textwrap.wrap(TASKS, 100, break_on_hyphens=False), ""]
        steps = list(next(iter(used.values()))["use"])
        lines += [f"| task | class | {' | '.join(steps)} |", "|---" * (2 + len(steps)) + "|"]
    for name, row in used.items():
        kind = (
            "its own" if row["class_kept"] else "handed on" if row["way"] != "itself" else "plain"
        )
        cells = [x if x == "yes" else "NO" for x in row["use"].values()]
        lines.append(f"| {name} | {kind} | {' | '.join(cells)} |")
        failed += [
            f"- {name}, {step}: {x}" for step, x in row["use"].items() if x not in ("yes", "NO")
        ]
    lost = {
        name: row["lost"] for name, row in used.items() if row["way"] == "itself" and row["lost"]
    }
    if lost:
        lines += ["", "Why a class is lost:", ""]
    for name, texts in lost.items():
        reason = texts[0].split("pruned graph (")[-1].split("). It holds")[0]
        text = f"- {name}: {reason}"
        lines += textwrap.wrap(text, 100, subsequent_indent="  ", break_on_hyphens=False)
    failed += [
        f"- {name}: the pruned network cannot be loaded, as KerasHub cannot load the layer outside "
        f"of its own model: {row['loaded_difference']}"
        for name, row in rows.items()
        if isinstance(row.get("loaded_difference"), str)
    ]
    if failed:
        lines += ["", "What does not work yet:", ""]
        for text in failed:
            lines += textwrap.wrap(text, 100, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
