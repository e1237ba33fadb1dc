"""The search of a run, and what it leaves behind: the winner, and the figures of the pool."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np

from tfrcp.deployment.latency_model import LatencyModel
from tfrcp.graph.trace import trace
from tfrcp.run import inputs
from tfrcp.run.context import Run
from tfrcp.run.figures import Trial
from tfrcp.search import architecture, task
from tfrcp.search.prune import SEARCHES
from tfrcp.search.tuner import ChannelSearch
from tfrcp.search.winner import winner_of
from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel

SEARCHED = "pruned.keras"


# Fields of `config.search` that are no arguments of a search, or part of its budget and space.
_ELSEWHERE = (*task.BUDGET, *task.SPACE, "sampler", "stages", "latency_format")


def search(
    run: Run,
    model: keras.Model,
    budget: Budget,
    options: dict[str, Any],
    project: str = "search",
    *,
    latency_model: LatencyModel | None = None,
) -> ChannelSearch:
    """Scores the candidates, or as a worker some of them."""
    batch_size = run.config["evaluate"]["batch_size"]
    tuner = SEARCHES[options["sampler"]](
        model,
        budget=budget,
        space=inputs.space(trace(model), options),
        latency_model=latency_model,
        seed=run.config["seed"],
        directory=str(run.workdir.path),
        project_name=project,
        batch_size=batch_size,
        log_dir=str(run.workdir / "tensorboard") if run.config["tensorboard"] else None,
        **{key: value for key, value in options.items() if key not in _ELSEWHERE},
    )
    if run.config["model"]["base"] and not run.config["train"]["epochs"]:
        tuner.refuses_guessing = "always"  # it was trained elsewhere, perhaps on other pixels
    holdout = run.data.holdout.arrays()  # (x, y), perhaps with sample weights
    tuner.search(run.data.train.dataset(batch_size), validation_data=holdout)
    return tuner


def record(run: Run, tuner: ChannelSearch, cost: CostModel, baseline: keras.Model) -> None:
    """Writes down what a search found, and makes `channels.json` and `pruned.keras`.

    Args:
        run: The run.
        tuner: The search, which is over.
        cost: Of the network that costs and widths are compared with, of the same groups as that
            which was searched.
        baseline: The network whose score on the holdout images stands beside the candidates'.
    """
    options, graph = run.config["search"], cost.graph
    trials = [t for t in tuner.oracle.trials.values() if t.score is not None]
    costs = cost(np.array([tuner.channels_of(trial) for trial in trials]))
    pruned, score, best = winner_of(tuner)
    kept = dict(
        zip((group.name for group in graph.prunable), tuner.channels_of(best).tolist(), strict=True)
    )
    run.workdir.update(
        channels={
            group.name: {"kept": kept[group.name], "full": group.size} for group in graph.prunable
        },
        search={
            "criterion": options["criterion"],
            "objective": tuner.objective.name,
            "trials": [
                Trial(t.trial_id, t.score, int(f), int(p), bool(t.message)).json()
                for t, f, p in zip(trials, costs.flops, costs.params, strict=True)
            ],
            "best": best.trial_id,
            "baseline_score": tuner.evaluator.score_model(baseline),
            "acceptance": getattr(tuner.oracle.sampler, "acceptance", None),
            "images_holdout": run.data.holdout.size,
            "images_calibration": min(options["calibration_images"], run.data.train.size),
        },
    )
    print(f"search: best {best.score:.4f}, {score:.4f} reconstructed layer by layer", flush=True)
    figure = tuner.objective.name.removeprefix("val_")
    run.merge("results", after_search={f"holdout_{figure}": score})
    run.workdir.save_model(SEARCHED, pruned)
    content = architecture.describe(
        graph,
        tuner.channels_of(best),
        {
            "name": run.config["model"]["factory"] or run.config["model"]["name"],
            "options": run.config["model"]["options"],
            "input_shape": run.workdir.metrics["data"]["input_shape"],
            "classes": run.data.classes,
        },
        score=best.score,
        objective=tuner.objective.name,
        seed=run.config["seed"],
        provenance={
            "versions": run.workdir.metrics["versions"],
            "data": run.data.name,
            "base": run.config["model"]["base"],
            **{key: options[key] for key in ("criterion", "reconstruction", "divisor")},
            "trial": best.trial_id,
            "trials": len(trials),
        },
    )
    run.workdir.write("channels.json", json.dumps(content, indent=1))
