"""The recipes of docs/jobs.md run."""

import re

import keras
import keras_tuner
import numpy as np
import pytest

import tfrcp
from tests.scoring.jobs import JOBS
from tests.small_run import REPOSITORY

PAGE = (REPOSITORY / "docs" / "jobs.md").read_text()
RECIPES = {
    title: code
    for title, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.M | re.S)
    for code in re.findall(r"```python\n(.*?)```", text, flags=re.S)
}
JOB_OF = {
    "Binary classification": "binary [N]",
    "Multi-label": "multi-label",
    "Segmentation": "segmentation with ignored pixels",
    "Detection": "detector",
    "Regression": "regression [N]",
    "Autoencoder": "autoencoder",
    "Several heads": "two heads",
    "No labels": "sparse classes",
    "What comes after": "regression [N]",
}


@pytest.mark.parametrize("title", RECIPES)
def test_recipe(title, monkeypatch):
    job, prune = JOBS[JOB_OF[title]](), tfrcp.prune

    def quick(*args, **options):
        return prune(*args, max_trials=2, tolerance=0.3, search="random", verbose=False, **options)

    monkeypatch.setattr(tfrcp, "prune", quick)
    names = {"tfrcp": tfrcp, "keras": keras, "keras_tuner": keras_tuner, "model": job.model}
    for name, tree in (("x", job.x), ("y", job.y)):
        for suffix, part in (("", slice(60)), ("_holdout", slice(60, 140))):
            cut = keras.tree.map_structure(lambda a, part=part: np.asarray(a[part]), tree)
            names[name + suffix] = cut
    names["pruned"] = job.model
    exec(RECIPES[title], names)
    if title != "What comes after":
        assert names["pruned"].count_params() < job.model.count_params()


def test_every_recipe_has_its_job():
    assert set(RECIPES) == set(JOB_OF)
