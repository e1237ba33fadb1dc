"""The page of a report: one HTML file with its pictures inside, which works without a network."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from html import escape

from tfrcp.run.report.comparison import lead, rows, saving
from tfrcp.run.report.reading import Metrics, is_number, section, winner
from tfrcp.run.report.summary import candidate_score, headline, method, trainings
from tfrcp.units import duration, percent

STYLE = """
:root { color-scheme: light; }
body { max-width: 46rem; margin: 2rem auto 4rem; padding: 0 1.2rem; background: #fff; color: #222;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .6rem; }
p { margin: .6rem 0; }
.lead { font-size: 1.15rem; margin: 1.2rem 0 1.6rem; }
.quiet { color: #5a5a5a; font-size: .875rem; }
figure { margin: 1rem 0 1.4rem; overflow-x: auto; }
img { display: block; width: 100%; min-width: 28rem; height: auto; margin-bottom: .3rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem 0 .4rem .9rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: normal; }
th { font-weight: 600; border-bottom-color: #888; }
td.bar { width: 45%; }
td.bar i { display: block; height: .8rem; background: #0072b2; }
li { margin: .35rem 0; }
summary { cursor: pointer; font-weight: 600; margin-top: 2.6rem; }
pre { background: #f5f5f5; padding: .8rem 1rem; overflow-x: auto; font-size: .8125rem; }
@media (max-width: 36rem) {
  body { font-size: 15px; margin-top: 1.2rem; padding: 0 .8rem; }
  th, td { padding-left: .5rem; font-size: .875rem; }
  td:last-child { white-space: normal; }
}
"""

# Name of a picture: what it is, for those who cannot see it, and the caption.
PICTURES = {
    "accuracy_flops": (
        "Scores of the candidates and of the whole network against their MACs",
        "Every dot is one candidate: inherited weights, no training. The right panel "
        "enlarges the budget.",
    ),
    "scores": (
        "Histogram of the candidates' scores",
        "From the median to the winner: what choosing the best has gained over a typical "
        "candidate, on the images it was chosen by.",
    ),
    "channels": (
        "Bars of the kept channels in each group",
        "Groups in the order in which an image passes them. Channels that are added together, as "
        "along residual connections, form one group.",
    ),
    "supernet": (
        "Curves of accuracy and loss of three widths of the supernet over the epochs",
        "The supernet as it is, at its smallest, and the mean of the random widths, each on the "
        "training images with the batch statistics of its own width.",
    ),
    "training": (
        "Curves of accuracy and loss over the epochs",
        "Training: the mean over the epoch, while the weights still move. Holdout: at its end.",
    ),
}


def html(metrics: Metrics, pictures: Mapping[str, bytes]) -> str:
    """The whole page.

    Args:
        metrics: the content of `metrics.json`.
        pictures: PNG files under the names of `PICTURES`; those that are missing are left out.

    Returns:
        An HTML document without any link.
    """
    name = escape(str(metrics.get("name") or "A run of tfrcp"))
    body = [
        f"<h1>{name}</h1>",
        _paragraph(" \N{MIDDLE DOT} ".join(_facts(metrics)), "quiet"),
        _paragraph(lead(metrics), "lead"),
        _paragraph(headline(metrics), "" if lead(metrics) else "lead"),
        _table(metrics),
        _section(
            "What the candidates reach", _search(metrics), pictures, "accuracy_flops", "scores"
        ),
        _section("What the winner keeps", [], pictures, "channels"),
        _section("Training", trainings(metrics), pictures, "supernet", "training"),
        _stages(metrics),
        "<h2>Method</h2>",
        "<ol>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in method(metrics)) + "</ol>",
        _config(metrics),
        _paragraph(_versions(metrics), "quiet"),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def _paragraph(text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    text = text.replace(" %", "\N{NO-BREAK SPACE}%")
    return f"<p{attribute}>{escape(text)}</p>" if text else ""


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


def _table(metrics: Metrics) -> str:
    body = rows(metrics)
    if not body:
        return ""
    lines = [_row("th", ("", "before", "after", "after / before"))]
    lines += [_row("td", row) for row in body]
    note = ["One multiply-add (MAC) is one FLOP; 1 kB is 1000 bytes."]
    accuracy = section(metrics, "results", "after").get("test_accuracy")  # a share of the images
    images = section(metrics, "data").get("test")
    if is_number(accuracy) and images:
        error = percent((accuracy * (1 - accuracy) / images) ** 0.5).removesuffix(" %")
        note.append(
            f"On {images:,} test images the standard error of such an accuracy is {error} points."
        )
    if is_number(section(metrics, "results", "latency_ratio").get("low")):
        note.append("In brackets: the 95 % interval.")
    note.append(saving(metrics))
    return f"<table>{''.join(lines)}</table>{_paragraph(' '.join(note).rstrip(), 'quiet')}"


def _row(tag: str, cells: Iterable[str]) -> str:
    minus = (cell.replace("-", "\N{MINUS SIGN}") if cell[:1] == "-" else cell for cell in cells)
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in minus) + "</tr>"


def _search(metrics: Metrics) -> list[str]:
    """What else there is to say about the search."""
    search, best = section(metrics, "search"), winner(metrics)
    tested = section(metrics, "results", "after_search").get("test_accuracy")
    smallest = section(metrics, "budget").get("feasible_min_ratio")
    sentences = []
    if best:
        scratch = section(metrics, "scratch")
        text = "On the supernet's weights" if scratch else "Before fine-tuning"
        text += (
            f" the winner scores {candidate_score(metrics, best['score'])} on the holdout images"
        )
        if is_number(tested):
            text += f" and {percent(tested)} on the test images"
        if is_number(search.get("baseline_score")):
            baseline = candidate_score(metrics, search["baseline_score"])
            text += f"; the {'whole supernet' if scratch else 'unpruned network'} scores {baseline}"
        sentences.append(f"{text}.")
    if is_number(search.get("acceptance")):
        share = percent(search["acceptance"])
        sentences.append(f"Of the sampler's draws, {share} met the budget.")
    if is_number(smallest):
        sentences.append(f"Down to {percent(smallest)} of the MACs could be reached.")
    return sentences


def _section(
    title: str, sentences: Iterable[str], pictures: Mapping[str, bytes], *names: str
) -> str:
    """A heading, text and pictures; empty if there is neither text nor a picture."""
    parts = [_paragraph(" ".join(sentences))]
    for name in names:
        if name in pictures:
            data = base64.b64encode(pictures[name]).decode()
            description, caption = PICTURES[name]
            parts.append(
                f'<figure><img alt="{escape(description)}" src="data:image/png;base64,{data}">'
                f'<figcaption class="quiet">{escape(caption)}</figcaption></figure>'
            )
    return f"<h2>{escape(title)}</h2>{''.join(parts)}" if any(parts) else ""


def _stages(metrics: Metrics) -> str:
    stages = [
        (str(stage.get("name")), stage["seconds"])
        for stage in metrics.get("stages") or []
        if is_number(stage.get("seconds"))
    ]
    if not stages:
        return ""
    longest = max(seconds for _, seconds in stages) or 1.0
    total = sum(seconds for _, seconds in stages)
    lines = [
        f"<tr><td>{escape(name)}</td><td>{duration(seconds)}</td>"
        f'<td class="bar"><i style="width:{100 * seconds / longest:.1f}%"></i></td></tr>'
        for name, seconds in stages
    ]
    title = f"<h2>Where the time went: {duration(total)}</h2>"
    return f"{title}<table>{''.join(lines)}</table>"


def _config(metrics: Metrics) -> str:
    if not metrics.get("config"):
        return ""
    text = json.dumps(metrics["config"], indent=2, ensure_ascii=False)
    return f"<details><summary>Configuration</summary><pre>{escape(text)}</pre></details>"


def _versions(metrics: Metrics) -> str:
    versions = section(metrics, "versions")
    return ", ".join(f"{package} {version}" for package, version in versions.items())
