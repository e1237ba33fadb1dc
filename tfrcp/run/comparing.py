"""The closing figures of a run: scores, costs and time of two networks, and their files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfrcp.deployment import latency
from tfrcp.deployment.bundle import Deployed, deploy
from tfrcp.graph.trace import trace
from tfrcp.run.context import Run
from tfrcp.run.figures import Figures, LatencyRatio, Pair
from tfrcp.scoring.comparison import score_change
from tfrcp.scoring.kinds import Accuracy
from tfrcp.scoring.verdict import Change
from tfrcp.space.cost import CostModel
from tfrcp.units import score

WHEN = ("before", "after")


def compare(run: Run, files: dict[str, tuple[str, str]], *, trained: Sequence[str] = WHEN) -> None:
    """Records the score on the test split, costs, and time per image, under "results".

    Of a classifier its accuracy stands beside the score by another objective. Under "score_changes"
    stands the 95 % interval of what a score changed by, where it has one.

    Args:
        run: The run.
        files: Maps "before" and "after" to .keras files of the working folder, and the stages that
            make them.
        trained: Which of them are trained: the score of others says nothing and is left out.
    """
    options = run.config["evaluate"]
    networks = {name: run.load(*made) for name, made in files.items()}
    images = run.data.holdout.arrays(options["latency_batch_size"])[0]
    times = latency.measure(networks, images, batch_size=options["latency_batch_size"])
    changes = _tested(run, networks["before"] if "before" in trained else None, networks["after"])
    for name, model in networks.items():
        full = CostModel(trace(model)).full
        scores = {key: getattr(c, name) for key, c in changes.items() if name in trained}
        figures = Figures(
            **{key: int(value) for key, value in full._asdict().items()},
            bytes=(run.workdir / files[name][0]).stat().st_size,
            latency_ms=times[name].median,
            scores=scores,
        )
        run.merge("results", **{name: figures.json()})
    run.merge(
        "results",
        latency_ratio=_ratio(times).json(),
        score_changes={
            key: {"low": change.low, "high": change.high}
            for key, change in changes.items()
            if change.has_error
        },
    )


def export(
    run: Run, before: keras.Model, after: keras.Model, *, trained: Sequence[str] = WHEN
) -> None:
    """Makes the files in `export/` and records how they do, under "export"; see `compare`."""
    options, data = run.config["export"], run.config["data"]
    (run.workdir / "export").mkdir(exist_ok=True)
    images, labels, weight = keras.utils.unpack_x_y_sample_weight(run.data.holdout.arrays())
    calibration = run.data.train.arrays(options["calibration_images"])[0]
    if run.objective.needs_labels:
        preprocessing: dict[str, Any] = {"objective": run.objective, "sample_weight": weight}
    else:
        preprocessing, labels = {}, None
    if options["preprocessing"] and (data["mean"] or data["std"]):
        mean, std = (
            np.array(data[name] or [default], "float32")
            for name, default in (("mean", 0.0), ("std", 1.0))
        )
        images, calibration = (array * std + mean for array in (images, calibration))
        channels = images.shape[-1]
        preprocessing |= {
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
        score_tolerance=options["score_tolerance"],
        **preprocessing,
    ):
        done, metric = found.after, run.objective.metric
        figures = {
            when: Figures(
                bytes=file.bytes,
                latency_ms=found.times[when].median,
                scores={metric: file.score} if when in trained else {},
            )
            for when, file in zip(WHEN, (found.before, done), strict=True)
        }
        pair = Pair(
            **figures,
            latency_ratio=_ratio(found.times),
            title=found.kind.title,
            path=str(done.path),
            max_difference=done.max_difference,
        )
        run.merge("export", **{name: pair.json() | {f"model_{metric}": done.model_score}})
        print(
            f"export: {done.path}, {done.bytes:,} bytes, differs from the model by at most "
            f"{done.max_difference:.2g}{_scores(run, found)}",
            flush=True,
        )


def _ratio(times: Mapping[str, latency.Latency]) -> LatencyRatio:
    after = times["after"]
    ratio = latency.ratio(after, times["before"])
    return LatencyRatio(
        **dataclasses.asdict(ratio),
        batch_size=after.batch_size,
        device=after.device,
        runtime=after.runtime,
    )


def _tested(run: Run, before: keras.Model | None, after: keras.Model) -> dict[str, Change]:
    """What became of the scores on the test split, by name."""
    goals = [run.objective]
    if run.data.classes is not None and run.objective.name != "val_accuracy":  # a classifier
        goals.insert(0, Accuracy(run.data.classes))
    found = {}
    for goal in goals:
        # A loss may depend on the batch, and is taken as `model.evaluate` takes arrays.
        size = run.config["evaluate"]["batch_size"] if goal.name == "val_accuracy" else 32
        batches = map(keras.utils.unpack_x_y_sample_weight, run.data.test.dataset(size))
        change = score_change(before, after, batches, goal)
        found[f"test_{goal.metric}"] = change
    return found


def _scores(run: Run, found: Deployed) -> str:
    """What a file reaches on the holdout images, beside the model."""
    objective, ours, theirs = run.objective, found.after.model_score, found.after.score
    if ours is None or theirs is None:
        return ""
    ours, theirs = (score(value, objective.is_share) for value in (ours, theirs))
    return f", has {theirs} {objective.label} on the holdout images (the model {ours})"
