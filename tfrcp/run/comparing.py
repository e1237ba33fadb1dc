"""The closing figures of a run: accuracy, costs and time of two networks, and their files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfrcp import training
from tfrcp.deployment import latency
from tfrcp.deployment.bundle import deploy
from tfrcp.graph.trace import trace
from tfrcp.run.context import Run
from tfrcp.space.cost import CostModel

WHEN = ("before", "after")


def compare(run: Run, files: dict[str, tuple[str, str]], *, trained: Sequence[str] = WHEN) -> None:
    """Records accuracy on the test split, costs, and time per image, under "results".

    Args:
        run: The run.
        files: Maps "before" and "after" to .keras files of the working folder, and the stages that
            make them.
        trained: Which of them are trained: the accuracy of others says nothing and is left out.
    """
    options = run.config["evaluate"]
    networks = {name: run.workdir.load_model(*made) for name, made in files.items()}
    test = run.data.test.dataset(options["batch_size"])
    images, _ = run.data.holdout.arrays(options["latency_batch_size"])
    times = latency.measure(networks, images, batch_size=options["latency_batch_size"])
    ratio = latency.ratio(times["after"], times["before"])
    for name, model in networks.items():
        full = CostModel(trace(model)).full
        results = {
            **{key: int(value) for key, value in full._asdict().items()},
            "bytes": (run.workdir / files[name][0]).stat().st_size,
            "latency_ms": times[name].median,
        }
        if name in trained:
            results["test_accuracy"] = training.evaluate(model, test)["accuracy"]
        run.merge("results", **{name: results})
    run.merge(
        "results",
        latency_ratio={
            "ratio": ratio.ratio,
            "low": ratio.low,
            "high": ratio.high,
            "batch_size": options["latency_batch_size"],
            "device": times["after"].device,
        },
    )


def export(
    run: Run, before: keras.Model, after: keras.Model, *, trained: Sequence[str] = WHEN
) -> None:
    """Makes the files in `export/` and records how they do, under "export"; see `compare`."""
    options, data = run.config["export"], run.config["data"]
    (run.workdir / "export").mkdir(exist_ok=True)
    images, labels = run.data.holdout.arrays()
    calibration, _ = run.data.train.arrays(options["calibration_images"])
    preprocessing: dict[str, Any] = {}
    if options["preprocessing"] and (data["mean"] or data["std"]):
        mean, std = (
            np.array(data[name] or [default], "float32")
            for name, default in (("mean", 0.0), ("std", 1.0))
        )
        images, calibration = (array * std + mean for array in (images, calibration))
        channels = images.shape[-1]
        preprocessing = {
            name: np.broadcast_to(value, channels).tolist()
            for name, value in (("mean", mean), ("std", std))
        }
    for name, found in deploy(
        before,
        after,
        run.workdir / "export",
        options["format"],
        images,
        labels,
        calibration=calibration,
        batch_size=run.config["evaluate"]["latency_batch_size"],
        accuracy_tolerance=options["accuracy_tolerance"],
        **preprocessing,
    ):
        for when in set(WHEN) - {*trained}:
            found[when]["accuracy"] = None
        run.merge("export", **{name: found})
        print(
            f"export: {found['path']}, {found['after']['bytes']:,} bytes, differs from the "
            f"model by at most {found['max_difference']:.2g}, right on "
            f"{100 * found['after']['accuracy']:.1f} % of the holdout images (the model "
            f"{100 * found['model_accuracy']:.1f} %)",
            flush=True,
        )
