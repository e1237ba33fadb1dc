"""A run whose networks are bounded in time."""

import numpy as np
import pytest

import tfrcp
from tests.small_run import config
from tfrcp.run import Pipeline


class Proportional:
    """Times that are proportional to the MACs, without measuring any."""

    made = 0

    def __init__(self, model, graph, **options):
        Proportional.made += 1
        self._cost = tfrcp.CostModel(graph)
        self.form, self.full = self._cost.forms.flops, float(self._cost.full.flops)

    def __call__(self, channels):
        return self._cost(np.atleast_2d(channels)).flops.astype("float64")


@pytest.fixture
def proportional(monkeypatch):
    monkeypatch.setattr("tfrcp.run.prune.LatencyModel", Proportional)


@pytest.mark.parametrize(("flops", "low", "high"), [(0.0, 0.55, 0.65), (0.4, 0.35, 0.45)])
def test_time_is_the_target_or_a_bound(inputs, proportional, tmp_path, flops, low, high):
    given = config(inputs, train__epochs=0, search__latency=0.6, search__flops=flops)
    pipeline = Pipeline(given, tmp_path / "run")
    pipeline.train()
    pipeline.search()
    full = pipeline.cost.full.flops
    for trial in pipeline.workdir.metrics["search"]["trials"]:
        assert low <= trial["flops"] / full <= high
    made = Proportional.made
    Pipeline(given, tmp_path / "run").search()
    assert Proportional.made == made  # nothing is measured where the result stands


def test_a_time_that_cannot_be_had_is_refused_at_once(inputs, proportional, tmp_path):
    with pytest.raises(ValueError, match="cannot be met"):
        Pipeline(
            config(inputs, search__latency=0.01, search__flops=0.0, search__tolerance=0.001),
            tmp_path / "run",
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search__latency": 0.5, "search__stages": 2}, "latency.*one process and one stage"),
        ({"search__latency": 1.5}, r"`latency` must be a float in \(0, 1\].*1.5"),
        ({"search__flops": 0.0}, "flops.*Received: flops=0"),
    ],
)
def test_bad_bounds(inputs, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        Pipeline(config(inputs, **changes), tmp_path / "run")
