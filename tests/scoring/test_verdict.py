from __future__ import annotations

import numpy as np
import pytest

from tfrcp.scoring.verdict import Change, paired_interval, verdict

SAME = Change("accuracy", 0.986, 0.983, -0.010, 0.004)


def test_one_sentence_says_all():
    assert verdict(score=SAME, time=(0.55, 0.53, 0.57), place="in LiteRT", size=0.42) == (
        "1.8 times faster (1.8 to 1.9) in LiteRT, 2.4 times smaller, accuracy unchanged within the "
        "test set's error, -0.3 points (-1.0 to +0.4)."
    )
    assert verdict() == ""


@pytest.mark.parametrize(
    ("time", "words"),
    [
        ((0.79, 0.75, 0.83), "27 % faster (20 to 33)"),
        ((0.98, 0.90, 1.05), "Not measurably faster (takes 0.98 times as long, 0.90 to 1.05)"),
        ((1.2, 1.1, 1.3), "20 % slower (10 to 30)"),
        ((0.5, 0.4, 0.625), "2.0 times faster (1.6 to 2.5)"),
    ],
)
def test_time_in_plain_words_with_its_error(time, words):
    assert verdict(time=time) == f"{words}."


@pytest.mark.parametrize(
    ("size", "macs", "words"),
    [
        (0.8, 0.75, "25 % fewer MACs, 20 % smaller."),
        (1.0, 1.0, "As many MACs as before, as large as before."),
        (1.1, 0.25, "4.0 times fewer MACs, 10 % larger."),
        (None, 1.3, "30 % more MACs."),
    ],
)
def test_sizes_in_plain_words(size, macs, words):
    assert verdict(size=size, macs=macs) == words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change("accuracy", 0.9, 0.85, -0.07, -0.03), "accuracy 5.0 points (3.0 to 7.0) lower on"),
        (Change("accuracy", 0.9, 0.95, 0.03, 0.07), "accuracy 5.0 points (3.0 to 7.0) higher on"),
        (Change("loss", 0.1, 0.25, 0.1, 0.2, is_share=False), "loss 0.15 (0.1 to 0.2) higher on"),
        (Change("mean IoU", 0.7312, 0.702, is_share=False), "mean IoU 0.7312 before and 0.702"),
        (Change("accuracy", None, 0.9), "accuracy 90.0 % on"),
        (Change("loss", 0.5, 0.51, -0.02, 0.04, is_share=False), "loss unchanged within the x's"),
    ],
)
def test_scores_in_plain_words(change, words):
    assert change.sentence("x").startswith(words)


def test_few_changed_answers_are_no_change_and_many_are():
    right = np.ones(360)
    for wrong, unchanged in ((0, True), (1, True), (4, True), (5, False), (30, False)):
        after = right.copy()
        after[:wrong] = 0
        low, high = paired_interval(right, after)
        assert low < -wrong / 360 + 0.01 and (low <= 0 <= high) is unchanged
    assert low < -30 / 360 < high


def test_the_interval_holds_the_true_change_as_often_as_it_says():
    random, held = np.random.default_rng(0), 0
    for _ in range(1000):
        before = random.random(300) < 0.9
        after = np.where(random.random(300) < 0.08, random.random(300) < 0.5, before)
        low, high = paired_interval(before, after)
        held += low <= 0.08 * (0.5 - 0.9) <= high
    assert 930 <= held <= 975
    random, held = np.random.default_rng(1), 0
    for _ in range(1000):
        before = random.normal(size=200)
        low, high = paired_interval(before, before + random.normal(0.1, 0.5, size=200))
        held += low <= 0.1 <= high
    assert 930 <= held <= 970
