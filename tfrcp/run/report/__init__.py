"""The report of a run: pictures, a page and a table, made from `metrics.json` alone.

`write` reads `workdir/metrics.json` and writes `workdir/plots/*.png` and `workdir/report.html`, one
file that holds its pictures and works offline. `table` is the closing table for a terminal.

The pipeline fills `metrics.json` stage by stage. Its schema (accuracies are fractions in [0, 1];
`flops` are MACs per image, one MAC being one FLOP; `activations` are values per
image, `bytes` are on disk, `seconds` are wall time, `latency_ms` is milliseconds per image):

    name, created       text; `created` is an ISO date
    versions            {"tfrcp": text, "tensorflow": ..., "keras": ..., "keras_tuner": ...}
    config              the nested configuration
    seed                int
    data                name, classes, train, holdout, test (numbers of images),
                        input_shape [height, width, channels]
    budget              flops_target (a float in (0, 1] is a ratio of the unpruned model, an int is
                        absolute), tolerance (of the unpruned FLOPs), flops_full (of the unpruned
                        model), feasible_min_ratio (the smallest reachable ratio)
    search              criterion, objective (`val_accuracy` or another metric's name),
                        trials [{id, score, flops, params, seconds}, ...], best (an id),
                        baseline_score (the unpruned model's, on the same holdout images),
                        acceptance (share of the sampler's draws inside the budget),
                        images_holdout, images_calibration
    channels            {group name: {"kept": int, "full": int}} of the winner, in forward order
    scratch             of pruning from scratch alone: random_widths, inherit, supernet_flops; there
                        is no trained "before", the baseline is the supernet, and `training` holds
                        "supernet" (with largest_loss, largest_accuracy, and likewise for smallest
                        and random) and "winner"; "kept" may be above "full"
    stages              [{name, seconds}, ...] in the order that they ran
    training            {"base": ..., "finetune": ...}, each {"history": {"loss": [...],
                        "accuracy": [...], "val_loss": [...], "val_accuracy": [...]}}, per epoch
    results             before, after: {test_accuracy, flops, params, activations, bytes,
                        latency_ms}; after_search: {test_accuracy, holdout_accuracy};
                        latency_ratio: {ratio (after / before), low, high (95 % interval),
                        batch_size, device}
    export              {kind of file: {path, max_difference (to the network), model_accuracy,
                        before, after: {bytes, latency_ms, accuracy (of the file, on holdout
                        images)}, latency_ratio: as in `results`, and runtime}, ...}

Every key may be missing or null, as after a run that has only begun; what needs it is left out.
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

from tfrcp import files
from tfrcp.run.report.comparison import table

__all__ = ["table", "write"]


def write(workdir: str | os.PathLike) -> pathlib.Path:
    """Writes `report.html` and `plots/*.png` from `metrics.json`, all in `workdir`.

    Raises:
        FileNotFoundError: if there is no `metrics.json`.
        ValueError: if `metrics.json` does not hold a JSON object.
    """
    # Matplotlib is imported when a report is written, not before.
    from tfrcp.run.report import candidates, drawing, network, page

    draws = (
        candidates.accuracy_flops,
        candidates.scores,
        network.channels,
        network.supernet,
        network.training,
    )
    workdir = pathlib.Path(workdir)
    metrics = _read(workdir / "metrics.json")
    folder = workdir / "plots"
    folder.mkdir(exist_ok=True)
    pictures = {}
    for draw in draws:
        path = folder / f"{draw.__name__}.png"
        picture = drawing.png(draw, metrics)
        if picture is None:
            path.unlink(missing_ok=True)  # An earlier report may have left one.
        else:
            files.write_bytes(path, picture)
            pictures[draw.__name__] = picture
    report = workdir / "report.html"
    files.write_bytes(report, page.html(metrics, pictures).encode())
    return report


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There is nothing to report: a run writes `metrics.json` into its working folder. "
            f"Looked for: {path}"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(metrics, dict):
        raise ValueError(f"{path} must hold a JSON object. Received: {type(metrics).__name__}")
    return metrics
