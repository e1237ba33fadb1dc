"""Scores of channels are computed once for a search."""

import numpy as np
import pytest

import tfrcp
from tests.search.small_search import HOLDOUT, TRAIN, network
from tfrcp.criteria import L1
from tfrcp.search.stored_scores import load_or_compute

SCORES = {"a": np.array([0.1, 0.3]), "b/c": np.arange(3)}


def refuse():
    raise AssertionError("computed again")


def test_kept_scores_are_exact(tmp_path):
    file = tmp_path / "scores.npz"
    for compute in (lambda: SCORES, refuse):
        found = load_or_compute(file, {"criterion": "x"}, compute)
        assert list(found) == list(SCORES)
        for name, array in found.items():
            np.testing.assert_array_equal(array, SCORES[name])


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:100],
        lambda content: b"",
        lambda content: b"no archive",
        lambda content: content[:60] + b"\xff" * 8 + content[68:],
    ],
)
def test_other_or_broken_ones_are_computed_again(tmp_path, damage):
    file = tmp_path / "scores.npz"
    load_or_compute(file, {"criterion": "x"}, lambda: SCORES)
    with pytest.raises(AssertionError, match="computed again"):
        load_or_compute(file, {"criterion": "y"}, refuse)
    file.write_bytes(damage(file.read_bytes()))
    load_or_compute(file, {"criterion": "x"}, lambda: SCORES)
    load_or_compute(file, {"criterion": "x"}, refuse)


class Counted(L1):
    """The L1 norm; tells how often it was asked."""

    asked = 0

    def __init__(self):
        super().__init__()

    def get_config(self):
        return {}

    def __call__(self, *arguments):
        Counted.asked += 1
        return super().__call__(*arguments)


def test_a_search_that_goes_on_does_not_score_again(tmp_path):
    made = []
    for trials in (1, 3):
        tuner = tfrcp.RandomChannelSearch(
            network(), criterion=Counted(), max_trials=trials, tolerance=0.05, directory=tmp_path
        )
        tuner.search(TRAIN, validation_data=HOLDOUT, verbose=False)
        made.append(tuner)
    assert Counted.asked == 1
    assert len(made[-1].oracle.trials) == 3
