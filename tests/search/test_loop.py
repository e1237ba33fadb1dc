"""The core of every search, and its file that survives kills."""

from __future__ import annotations

import numpy as np
import pytest

from tests.space.sampling import every_sampler, feasible
from tfrcp import Budget, SearchSpace
from tfrcp.search import GuidedSampler, RandomSampler, loop

BUDGET = Budget(0.5, tolerance=0.1)


class Killed(BaseException):
    pass


def score(vector):
    return float(vector[-1] - 2 * vector[0])


@every_sampler
def test_killed_at_any_trial_it_resumes_the_same(sampler, small, tmp_path):
    graph, cost = small
    space = SearchSpace(graph)
    whole = loop.run(sampler(space, cost, BUDGET), score, 24)
    file, left = loop.TrialFile(tmp_path / "trials.jsonl"), [7]

    def killed(vector):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return score(vector)

    with pytest.raises(Killed):
        loop.run(sampler(space, cost, BUDGET), killed, 24, file)
    with file.path.open("a") as torn:
        torn.write('{"channels": [1, 2')
    asked = []
    again = loop.run(sampler(space, cost, BUDGET), lambda v: asked.append(v) or score(v), 24, file)
    np.testing.assert_array_equal(again.channels, whole.channels)
    np.testing.assert_array_equal(again.scores, whole.scores)
    assert len(asked) == 24 - 7 and len(file.read()) == 24
    assert score(again.best) == whole.scores.max()


def test_another_search_in_the_file_is_refused(small, tmp_path):
    graph, cost = small
    file = loop.TrialFile(tmp_path / "trials.jsonl")
    loop.run(RandomSampler(SearchSpace(graph), cost, BUDGET), score, 3, file)
    with pytest.raises(ValueError, match="holds another search: trial 0"):
        loop.run(RandomSampler(SearchSpace(graph), cost, BUDGET, seed=1), score, 3, file)


def test_it_ends_where_there_is_nothing_more_to_try_or_to_gain(small):
    graph, cost = small
    space, narrow = SearchSpace(graph), Budget(0.5, tolerance=0.02)
    count = len(feasible(space, cost, narrow))
    assert len(loop.run(RandomSampler(space, cost, narrow), score, count + 9).scores) == count
    guided = GuidedSampler(space, cost, BUDGET, starts=[[4, 7, 9]], patience=4)
    assert len(loop.run(guided, lambda vector: 1.0, 50).scores) == 5


def test_scores_that_are_no_numbers_never_win(small):
    graph, cost = small
    values = iter([np.nan, 1.0, np.nan])
    sampler = RandomSampler(SearchSpace(graph), cost, BUDGET)
    found = loop.run(sampler, lambda vector: next(values), 3)
    np.testing.assert_array_equal(found.best, found.channels[1])
    none = loop.run(RandomSampler(SearchSpace(graph), cost, BUDGET), lambda vector: np.nan, 2)
    with pytest.raises(ValueError, match="None of 2 candidates"):
        none.best  # noqa: B018
