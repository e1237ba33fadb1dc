"""The outcome of a run in words."""

from __future__ import annotations

from tfrcp.run.figures import Figures, number
from tfrcp.run.report import scratch
from tfrcp.run.report.reading import (
    Metrics,
    baseline_name,
    budget_ratio,
    histories,
    number_at,
    objective,
    results,
    scored_trials,
    section,
    tested,
    winner,
)
from tfrcp.units import percent, plural, points


def headline(metrics: Metrics) -> str:
    """The outcome in one to three sentences."""
    pair, key = results(metrics), f"test_{tested(metrics).name}"
    if pair.after.scores.get(key) is not None:
        return scratch.headline(metrics) if section(metrics, "scratch") else _outcome(metrics)
    if winner(metrics):
        step = "trained" if section(metrics, "scratch") else "fine-tuned"
        return f"{_found(metrics)} It has not been {step} and tested yet."
    if pair.before.scores.get(key) is not None:
        return f"The unpruned network {_reached(metrics, pair.before)}. Nothing is pruned yet."
    return "Nothing has been pruned or measured yet."


def _outcome(metrics: Metrics) -> str:
    """What was pruned away, and what that did to the score on the test images."""
    pair, score = results(metrics), tested(metrics)
    ratio = pair.ratio("flops")
    text = "Pruned" + ("" if ratio is None else f" to {percent(ratio)} of the MACs")
    if section(metrics, "training", "finetune"):
        epochs = len(section(metrics, "training", "finetune", "history").get("loss") or [])
        text += " and fine-tuned" + (f" for {plural(epochs, 'epoch')}" if epochs else "")
    text += f", the network {_reached(metrics, pair.after)}"
    then, now = (found.scores.get(f"test_{score.name}") for found in (pair.before, pair.after))
    if then is not None:
        text += f"; unpruned it was {score.text(then)}"
        if score.is_share:
            change = points(now - then)
            kind = {"+": "a gain of", "-": "a loss of"}.get(change[0])
            text += f", {kind} {change[1:]}" if kind else ", the same within 0.1 points"
    return f"{text}."


def _found(metrics: Metrics) -> str:
    """What the search has found, for a run that has come no further."""
    best, trials = winner(metrics), len(scored_trials(metrics))
    full = number_at(metrics, "budget", "flops_full")
    text = f"The best of {trials:,} candidates" if trials > 1 else "The only candidate"
    if full and best.flops is not None:
        text += f", at {percent(best.flops / full)} of the MACs,"
    text += f" scores {candidate_score(metrics, best.score)} on the holdout images"
    if (baseline := number_at(metrics, "search", "baseline_score")) is not None:
        name = baseline_name(metrics).replace("unpruned", "unpruned network")
        text += f"; the {name} scores {candidate_score(metrics, baseline)}"
    return f"{text}."


def candidate_score(metrics: Metrics, score: float) -> str:
    """A score of the search: in percent if it is a share of the images."""
    return objective(metrics).text(score)


def trainings(metrics: Metrics) -> list[str]:
    """How long each training was and where it ended, one sentence each."""
    sentences = scratch.trainings(metrics)
    for title, history in histories(metrics).items():
        epochs = max(map(len, history.values()))
        ends = [
            f"{percent(history[key][-1])} accuracy on the {split} images"
            for key, split in (("accuracy", "training"), ("val_accuracy", "holdout"))
            if key in history and number(history[key][-1]) is not None
        ]
        text = f"{title}: {plural(epochs, 'epoch')}"
        sentences.append(f"{text}, at the end {' and '.join(ends)}." if ends else f"{text}.")
    return sentences


def method(metrics: Metrics) -> list[str]:
    """How the figures came about, in five or six sentences."""
    search = section(metrics, "search")
    trials = len(search.get("trials") or [])
    criterion = f" {search['criterion']}" if search.get("criterion") else ""
    if search.get("criterion") == "auto":
        criterion = " (optimal_brain_surgeon where the model allows it, else taylor, else l1)"
    holdout = f"{search['images_holdout']:,} " if search.get("images_holdout") else ""
    window = budget_window(metrics)
    network = "original" if section(metrics, "scratch") else "unpruned"
    total = f", and the whole takes {window} of the {network} network's MACs"
    reconstructed = ""
    if search.get("images_calibration"):
        images = search["images_calibration"]
        reconstructed = f", only reconstructed with {images:,} training images without labels"
    sampler = section(metrics, "config", "search").get("sampler")
    way = {
        "guided": "begin with allocations by several criteria and move around the best of them",
        "evolutionary": "evolve from random ones",
        "surrogate": "are chosen by a regression of the scores so far, the first at random",
    }.get(sampler, "are drawn at random")
    return [
        *_steps(metrics),
        *([scratch.method(metrics)] if section(metrics, "scratch") else []),
        f"The widths of {f'{trials:,} candidates' if trials > 1 else 'a candidate'} {way}: each "
        f"group of coupled channels gets one of its own{total if window else ''}.",
        f"Inside a group, the criterion{criterion} decides which channels stay; a candidate "
        f"inherits their weights and is not trained before it is scored{reconstructed}.",
        f"The winner is chosen on {holdout}holdout images, on which this run neither trains nor "
        "tests; as the best of many on the same images, its score there flatters it.",
        "The test images are used once, at the end, for the figures of the table.",
        "One multiply-add (MAC) is one FLOP, counted for convolutions, dense layers and matrix "
        "products alone (no biases, normalisation, activations or pooling); latency is that of "
        "this machine and says little about another.",
    ]


def _steps(metrics: Metrics) -> list[str]:
    """How far the network was pruned before the last search, where it went in steps."""
    steps, full = section(metrics, "steps"), section(metrics, "budget").get("flops_full")
    if not steps or not full:
        return []
    told = []
    for step in steps.values():
        scores = step["holdout_accuracy"]
        right = f" ({percent(scores[-1])} holdout accuracy)" if scores else ""
        told.append(f"{percent(step['flops'] / full)}{right}")
    return [
        f"The network is pruned in {len(steps) + 1} steps and fine-tuned in between: to "
        f"{', then to '.join(told)} of its MACs, then as follows."
    ]


def budget_window(metrics: Metrics) -> str:
    """The budget as a share of the unpruned FLOPs: `50.0 % ± 0.5 %`; empty if it is not known."""
    target, tolerance = budget_ratio(metrics), number_at(metrics, "budget", "tolerance")
    if target is None:
        return ""
    room = "" if tolerance is None else f" \N{PLUS-MINUS SIGN} {100 * tolerance:.3g} %"
    return f"{percent(target)}{room}"


def _reached(metrics: Metrics, figures: Figures) -> str:
    """What a network reaches on the test images, a predicate."""
    images, score = section(metrics, "data").get("test"), tested(metrics)
    subject = f"the {images:,} test images" if images else "the test images"
    text = score.text(figures.scores[f"test_{score.name}"])
    if score.name == "accuracy":
        return f"classifies {text} of {subject} correctly"
    better = "higher" if score.higher_is_better else "lower"
    return f"reaches {text} {score.label} ({better} is better) on {subject}"
