"""Golden figures of the large networks: all of `keras.applications` and the ImageNet builders.

python -m tests.golden [--only=ResNet50,resnet18]

Builds every network without weights, traces it, and writes what it finds to
`golden_networks.json`; the figures of the networks that are not named stay. `test_golden.py` holds
a few small ones against that file; look at the difference of the file after a change of the rules.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from pathlib import Path

FILE = Path(__file__).parent / "golden_networks.json"
CLASSES = 10
#: Smallest legal widths of the input images, where it is not 32.
SMALLEST = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}
_CIFAR = {"resnet8", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "vgg16"}


def applications():
    """Names of the networks of `keras.applications`."""
    import keras

    found = vars(keras.applications).items()
    return sorted(name for name, x in found if name[0].isupper() and callable(x))


def builders():
    """Names of the builders of ImageNet networks in `tfrcp.models`."""
    from tfrcp import models

    return sorted(
        name
        for name in models.__all__
        if name not in _CIFAR and not name.startswith(("load_", "full_"))
    )


def build(name):
    """A network of `keras.applications` at its smallest input, or of `tfrcp.models`."""
    import keras

    from tfrcp import models

    if name not in applications():
        return getattr(models, name)()
    size = SMALLEST.get(name, 32)
    return getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=CLASSES, classifier_activation=None
    )


def figures(graph, cost):
    """What the file holds of a network."""
    import keras

    (image,) = keras.tree.flatten(graph.calls.inputs)
    return {
        "input": list(image.shape[1:]),
        "flops": cost.full.flops,
        "params": cost.full.params,
        "groups": len(graph.prunable),
        "channels": int(graph.full.sum()),
        "uncounted": list(cost.uncounted),
    }


def write(file, rows):
    """Writes rows, one a line, all or nothing."""
    lines = [f" {json.dumps(name)}: {json.dumps(row)}" for name, row in sorted(rows.items())]
    new = file.with_suffix(".tmp")
    new.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    os.replace(new, file)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", default="", help="names, separated by commas")
    arguments = arguments.parse_args()

    import keras

    import tfrcp

    names = arguments.only.split(",") if arguments.only else [*applications(), *builders()]
    rows = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in names:
        start = time.perf_counter()
        graph = tfrcp.trace(build(name))
        rows[name] = figures(graph, tfrcp.CostModel(graph))
        write(FILE, rows)
        print(f"{name}: {rows[name]}, {time.perf_counter() - start:.0f} s", flush=True)
        keras.backend.clear_session()
        gc.collect()


if __name__ == "__main__":
    main()
