"""The report of a run: pictures, a page and a table, made from `metrics.json` alone.

`write` reads `workdir/metrics.json` and writes `workdir/plots/*.png` and `workdir/report.html`, one
file that holds its pictures and works offline. `table` is the closing table for a terminal.

The pipeline fills `metrics.json` stage by stage. Its schema (accuracies are fractions in [0, 1];
`flops` are MACs per image, one MAC being one FLOP; `seconds` are wall time; names in capitals are
records of `tfrcp.run.figures`):

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
                        trials [TRIAL, ...], best (an id),
                        baseline_score (the unpruned model's, on the same holdout images),
                        acceptance (share of the sampler's draws inside the budget),
                        images_holdout, images_calibration
    channels            {group name: {"kept": int, "full": int}} of the winner, in forward order
    scratch             of pruning from scratch alone: random_widths, inherit, supernet_flops; there
                        is no trained "before", the baseline is the supernet, and `training` holds
                        "supernet" (with largest_loss, largest_accuracy, and likewise for smallest
                        and random) and "winner"; "kept" may be above "full"
    stages              [STAGE, ...] in the order that they ran
    training            {"base": ..., "finetune": ...}, each {"history": {"loss": [...],
                        "accuracy": [...], "val_loss": [...], "val_accuracy": [...]}}, per epoch
    results             PAIR with scores such as test_accuracy; after_search: {holdout_accuracy};
                        score_changes: {test_accuracy: {low, high (95 % interval)}}
    export              {kind of file: PAIR with scores such as accuracy (on holdout images), and
                        model_accuracy, the network's}

Every key may be missing or null, as after a run that has only begun; what needs it is left out.
"""

from __future__ import annotations

import os
import pathlib

from tfrcp import files
from tfrcp.run import records
from tfrcp.run.report.comparison import table

__all__ = ["table", "write"]


def write(workdir: str | os.PathLike) -> pathlib.Path:
    """Writes `report.html` and `plots/*.png` from `metrics.json`, all in `workdir`.

    Raises:
        ValueError: if `metrics.json` is damaged.
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
    metrics = records.read(workdir)
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
