"""Metrics as runs leave them, made up."""

import json

import numpy as np

from tfrcp.run import report
from tfrcp.run.report import candidates, network

DRAWS = (
    candidates.accuracy_flops,
    candidates.scores,
    network.channels,
    network.supernet,
    network.training,
)


def made_up(groups=12, trials=20, name="stage1_block{}_conv1", center=0.6, spread=0.08):
    """Metrics as a whole run leaves them."""
    generator = np.random.default_rng(0)
    scores = np.round(np.clip(center + spread * generator.standard_normal(trials), 0, 1), 3)
    full = 40_000_000

    def history(epochs):
        curve = [1 - 0.9 * 0.8**epoch for epoch in range(epochs)]
        history = {"accuracy": curve, "val_accuracy": [value - 0.01 for value in curve]}
        history |= {f"{split}loss": [2.1 - value for value in curve] for split in ("", "val_")}
        return {"history": history | {"seconds": [1.0] * epochs}}

    trial_list = [
        {"id": f"{i:04d}", "score": float(score), "flops": int(full * ratio), "seconds": 0.2}
        for i, (score, ratio) in enumerate(
            zip(scores, generator.uniform(0.495, 0.505, trials), strict=True)
        )
    ]
    return {
        "name": "digits_resnet20",
        "created": "2025-01-31T12:00:00",
        "versions": {"tfrcp": "0.1.0", "keras": "3.15.1"},
        "config": {"search": {"max_trials": trials}},
        "seed": 0,
        "data": dict(name="digits", classes=10, train=1077, holdout=360, test=360)
        | {"input_shape": [8, 8, 1]},
        "budget": dict(flops_target=0.5, tolerance=0.005, flops_full=full, feasible_min_ratio=0.01),
        "search": dict(criterion="l1", objective="val_accuracy", trials=trial_list)
        | dict(best=f"{int(np.argmax(scores)):04d}", baseline_score=0.97, acceptance=0.1)
        | dict(images_holdout=1000, images_calibration=256),
        "channels": {
            name.format(group): {"kept": int(generator.integers(1, 65)), "full": 64}
            for group in range(groups)
        },
        "stages": [{"name": "train", "seconds": 71.2}, {"name": "search", "seconds": 671.0}],
        "training": {"base": history(30), "finetune": history(5)},
        "results": {
            "before": dict(test_accuracy=0.981, flops=full, params=272_474, activations=188_426)
            | dict(bytes=1_312_345, latency_ms=0.351),
            "after": dict(test_accuracy=0.978, flops=20_040_000, params=131_474)
            | dict(activations=98_426, bytes=712_345, latency_ms=0.211),
            "after_search": {"test_accuracy": None, "holdout_accuracy": 0.77},
            "latency_ratio": dict(ratio=0.6, low=0.57, high=0.63, batch_size=64, device="CPU"),
        },
    }


def write(tmp_path, metrics):
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    return report.write(tmp_path)
