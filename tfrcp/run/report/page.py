"""The page of a report: what the template shows of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tfrcp.pages import render
from tfrcp.run.figures import Stage
from tfrcp.run.report.comparison import lead, rows, saving
from tfrcp.run.report.reading import Metrics, number_at, results, section, winner
from tfrcp.run.report.summary import candidate_score, headline, method, trainings
from tfrcp.units import percent


def html(metrics: Metrics, pictures: Mapping[str, bytes]) -> str:
    """The whole page."""
    config = metrics.get("config")
    return render(
        "run.html",
        title=str(metrics.get("name") or "A run of tfrcp"),
        facts=" \N{MIDDLE DOT} ".join(_facts(metrics)),
        lead=lead(metrics),
        headline=headline(metrics),
        rows=rows(metrics),
        note=" ".join(_notes(metrics)).rstrip(),
        search=" ".join(_search(metrics)),
        trainings=" ".join(trainings(metrics)),
        stages={
            str(stage.name): stage.seconds
            for stage in map(Stage.of, metrics.get("stages") or [])
            if stage.seconds is not None
        },
        method=method(metrics),
        config=json.dumps(config, indent=2, ensure_ascii=False) if config else "",
        versions=", ".join(f"{name} {v}" for name, v in section(metrics, "versions").items()),
        pictures=pictures,
    )


def _facts(metrics: Metrics) -> list[str]:
    """Data set, seed and date, as far as they are known."""
    data, facts = section(metrics, "data"), []
    if data.get("name"):
        sizes = [f"{data[key]:,} {key}" for key in ("train", "holdout", "test") if data.get(key)]
        text = f"{data['name']}: {', '.join(sizes)} images" if sizes else str(data["name"])
        if data.get("input_shape"):
            text += " of " + " \N{MULTIPLICATION SIGN} ".join(map(str, data["input_shape"]))
        facts.append(text + (f", {data['classes']} classes" if data.get("classes") else ""))
    if metrics.get("seed") is not None:
        facts.append(f"seed {metrics['seed']}")
    if metrics.get("created"):
        facts.append(str(metrics["created"])[:16].replace("T", " "))
    return facts


def _notes(metrics: Metrics) -> list[str]:
    """What is said below the table."""
    notes = ["One multiply-add (MAC) is one FLOP; 1 kB is 1000 bytes."]
    pair, images = results(metrics), section(metrics, "data").get("test")
    accuracy = pair.after.scores.get("test_accuracy")  # a share of the images
    if accuracy is not None and images:
        error = percent((accuracy * (1 - accuracy) / images) ** 0.5).removesuffix(" %")
        notes.append(
            f"On {images:,} test images the standard error of such an accuracy is {error} points."
        )
    if pair.latency_ratio.low is not None:
        notes.append("In brackets: the 95 % interval.")
    return [*notes, saving(metrics)]


def _search(metrics: Metrics) -> list[str]:
    """What else there is to say about the search."""
    best, sentences = winner(metrics), []
    if best:
        scratch = section(metrics, "scratch")
        text = "On the supernet's weights" if scratch else "Before fine-tuning"
        text += f" the winner scores {candidate_score(metrics, best.score)} on the holdout images"
        if (baseline := number_at(metrics, "search", "baseline_score")) is not None:
            name = "whole supernet" if scratch else "unpruned network"
            text += f"; the {name} scores {candidate_score(metrics, baseline)}"
        sentences.append(f"{text}.")
    if (share := number_at(metrics, "search", "acceptance")) is not None:
        sentences.append(f"Of the sampler's draws, {percent(share)} met the budget.")
    if (smallest := number_at(metrics, "budget", "feasible_min_ratio")) is not None:
        sentences.append(f"Down to {percent(smallest)} of the MACs could be reached.")
    return sentences
