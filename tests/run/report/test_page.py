"""The page and its words."""

import copy
import functools
import os
import re

import matplotlib
import pytest

from tests.run.report.made_up import DRAWS, made_up, write
from tfrcp import units
from tfrcp.run import report
from tfrcp.run.report import candidates, comparison, network, page, reading


def paths(tree, before=()):
    """The path of every key in nested dicts."""
    for key, value in tree.items():
        yield (*before, key)
        if isinstance(value, dict):
            yield from paths(value, (*before, key))


def without(metrics, path, null):
    """A copy in which the value at `path` is null, or gone."""
    changed = copy.deepcopy(metrics)
    place = functools.reduce(dict.__getitem__, path[:-1], changed)
    if null:
        place[path[-1]] = None
    else:
        del place[path[-1]]
    return changed


def test_writes_one_page_that_holds_its_pictures(tmp_path):
    path = write(tmp_path, made_up())
    assert path == tmp_path / "report.html"
    pictures = sorted(os.listdir(tmp_path / "plots"))
    assert pictures == ["accuracy_flops.png", "channels.png", "scores.png", "training.png"]
    for picture in pictures:
        content = (tmp_path / "plots" / picture).read_bytes()
        assert content.startswith(b"\x89PNG")
    text = path.read_text(encoding="utf-8")
    assert text.count('src="data:image/png;base64,') == 4
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "url(" not in text and "@import" not in text and "<script" not in text
    assert sorted(os.listdir(tmp_path)) == ["metrics.json", "plots", "report.html"]


def test_same_metrics_give_the_same_files_under_any_settings(tmp_path):
    first = write(tmp_path, made_up(groups=2, trials=4)).read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        settings = dict(matplotlib.rcParams)
        assert write(tmp_path, made_up(groups=2, trials=4)).read_bytes() == first
        assert dict(matplotlib.rcParams) == settings


def test_files_stand_in_the_table_below_the_networks():
    metrics = made_up()
    metrics["export"] = {
        "litert_int8": {
            "title": "LiteRT int8",
            "before": dict(bytes=300_000, latency_ms=0.2, accuracy=0.98),
            "after": dict(bytes=150_000, latency_ms=0.11, accuracy=0.97),
            "latency_ratio": dict(ratio=0.55, low=0.5, high=0.6, batch_size=64, device="CPU"),
        }
    }
    text = report.table(metrics)
    for part in (
        "LiteRT int8: holdout accuracy",
        "LiteRT int8: size on disk",
        "LiteRT int8: latency per image, batch of 64 on CPU",
        "0.55 (0.50 to 0.60)",
        "Of the MACs 49.9 % are saved, of the time 40.0 % in TensorFlow",
        "45.0 % in LiteRT int8: at best, in LiteRT int8, 90.2 % of the saving are realised",
    ):
        assert part in text
    assert text.splitlines()[10].split()[-1] == "points"


def test_a_saving_that_is_not_realised_is_said():
    metrics = made_up()
    metrics["results"]["latency_ratio"].update(ratio=0.9, low=0.8, high=1.0)
    assert "less than four fifths" in comparison.saving(metrics)
    assert "less than four fifths" in page.html(metrics, {})
    metrics["results"]["after"]["flops"] = None
    assert comparison.saving(metrics) == ""


def test_table_is_aligned():
    lines = report.table(made_up()).splitlines()
    assert lines[0] == comparison.lead(made_up()) and not lines[1]
    assert lines[2:10] == [
        "                                         before     after       after / before",
        "------------------------------------------------------------------------------",
        "test accuracy                            98.1 %    97.8 %          -0.3 points",
        "MACs per image                             40 M      20 M                0.501",
        "parameters                                272 k     131 k                0.483",
        "activations per image                     188 k    98.4 k                0.522",
        "size on disk                            1.31 MB    712 kB                0.543",
        "latency per image, batch of 64 on CPU  0.351 ms  0.211 ms  0.60 (0.57 to 0.63)",
    ]
    assert report.table({}) == ""


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (units.count, 0, "0"),
        (units.count, 970, "970"),
        (units.count, 999_999, "1 M"),
        (units.count, 4_110_000_000, "4.11 G"),
        (units.size, 999, "999 B"),
        (units.size, 59_000, "59 kB"),
        (units.percent, 0.98123, "98.1 %"),
        (units.points, -0.0034, "-0.3 points"),
        (units.points, -0.0001, "0.0 points"),
        (units.duration, 71.24, "71.2 s"),
        (units.duration, 671.2, "11 min 11 s"),
        (units.duration, 7512, "2 h 5 min"),
    ],
)
def test_numbers_and_their_units(function, value, text):
    assert function(value) == text


@pytest.mark.parametrize("null", [False, True], ids=["missing", "null"])
def test_whatever_is_missing_is_left_out(null):
    whole = made_up(groups=3, trials=4)
    for path in paths(whole):
        metrics = without(whole, path, null)
        assert page.html(metrics, {}).endswith("</html>\n"), path
        report.table(metrics)
        if path[0] in ("search", "budget"):
            for draw in (candidates.accuracy_flops, candidates.scores):
                draw(metrics)
        elif path[0] in ("channels", "training") and "group" not in path:
            network.channels(metrics) if path == ("channels",) else network.training(metrics)


def test_a_run_that_has_only_begun(tmp_path):
    for metrics in ({}, {"name": "begun", "search": {"trials": []}, "training": {"base": None}}):
        text = write(tmp_path, metrics).read_text(encoding="utf-8")
        assert "Nothing has been pruned" in text
        assert "<img" not in text
        assert os.listdir(tmp_path / "plots") == []


def test_pictures_of_an_earlier_report_go(tmp_path):
    write(tmp_path, made_up(groups=2, trials=1))
    metrics = made_up(groups=2, trials=1)
    del metrics["training"]
    write(tmp_path, metrics)
    assert "training.png" not in os.listdir(tmp_path / "plots")


def test_failed_trials_do_not_count():
    metrics = made_up()
    trials = metrics["search"]["trials"]
    trials[0]["score"], trials[1]["score"], trials[2]["score"] = None, float("nan"), float("inf")
    assert len(reading.scored_trials(metrics)) == 17
    for draw in DRAWS:
        assert (draw(metrics) is None) == (draw is network.supernet)


def test_what_comes_from_outside_is_escaped(tmp_path):
    nasty = '<script>alert("&")</script> $\\frac$'
    metrics = made_up(groups=2, name=nasty + "{}")
    metrics.update(name=nasty, config={nasty: nasty}, versions={nasty: nasty}, seed=nasty)
    metrics["created"] = nasty
    metrics["data"]["name"] = metrics["search"]["criterion"] = nasty
    metrics["search"]["objective"] = nasty
    metrics["stages"][0]["name"] = metrics["results"]["latency_ratio"]["device"] = nasty
    metrics["training"][nasty] = metrics["training"].pop("base")
    text = write(tmp_path, metrics).read_text(encoding="utf-8")
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 10


def test_an_objective_that_is_no_accuracy_has_no_percent():
    metrics = made_up()
    metrics["search"]["objective"] = "val_loss"
    (axes,) = candidates.scores(metrics).axes
    assert axes.get_xlabel() == "loss on the holdout images"
    assert not any("%" in text.get_text() for text in axes.texts)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "no valid JSON"), ("[]", "holds no JSON object")],
    ids=["truncated", "list"],
)
def test_metrics_that_cannot_be_read(content, message, tmp_path):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        report.write(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_an_interrupted_report_leaves_the_old_one(tmp_path, monkeypatch):
    write(tmp_path, {"name": "old"})

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, {"name": "new"})
    assert "old" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert sorted(os.listdir(tmp_path)) == ["metrics.json", "plots", "report.html"]
