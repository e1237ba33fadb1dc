"""Workers of another search than the chief are refused."""

from __future__ import annotations

import pytest

import tfrcp
from tests.search.kill_search import free_port, stored
from tests.search.processes import together
from tests.search.small_search import HOLDOUT, TRAIN, network
from tfrcp.search import distributed


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"labels": 1}, "validation_data"),
        ({"holdout": 1}, "validation_data"),
        ({"train": 1}, "calibration_data"),
        ({"criterion": "l2"}, "criterion"),
        ({"reconstruction": "none"}, "update, calibration_data"),
        ({"weights": 1}, "model"),
    ],
)
def test_a_worker_with_other_data_or_another_model_is_refused(tmp_path, monkeypatch, change, named):
    port, model, tuners = free_port(), network(), {}
    monkeypatch.setattr(distributed, "LEASE", 1.0)
    for name in ("chief", "other", "worker"):
        for variable, value in (("TUNER_ID", name), ("ORACLE_IP", "127.0.0.1")):
            monkeypatch.setenv(f"KERASTUNER_{variable}", value)
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(port))
        mine = model
        options = {"criterion": "l1", "reconstruction": "batch_norm"}
        if name == "other":
            options |= {key: value for key, value in change.items() if key in options}
            if "weights" in change:
                mine = network()
                mine.set_weights([w + 0.1 for w in model.get_weights()])
        tuners[name] = tfrcp.RandomChannelSearch(
            mine,
            max_trials=3,
            tolerance=0.1,
            directory=str(tmp_path / ("other" if name == "other" else "shared")),
            project_name="project",
            **options,
        )

    def search(name):
        (x, y), (hx, hy) = TRAIN, HOLDOUT
        if name == "other":
            x = x + 0.01 if "train" in change else x
            hx = hx + 0.01 if "holdout" in change else hx
            hy = (hy + 1) % 3 if "labels" in change else hy
        tuners[name].search((x, y), validation_data=(hx, hy), verbose=False)

    def both():
        with pytest.raises(RuntimeError, match=f"another search than the chief: its {named} diff"):
            search("other")
        search("worker")

    assert together(lambda: search("chief"), both) == [None, None]
    assert all(status == "COMPLETED" for *_, status, _ in stored(tmp_path / "shared").values())
