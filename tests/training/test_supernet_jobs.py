"""A supernet is trained by what its model is compiled for."""

import keras
import numpy as np
import pytest

from tests.nightly import mostly_nightly
from tests.scoring.jobs import JOBS
from tfrcp import training
from tfrcp.data.trees import TreeSplit
from tfrcp.graph.compiling import compile_like
from tfrcp.graph.trace import trace
from tfrcp.space.space import SearchSpace
from tfrcp.training.supernet import Supernet

RECIPE = training.Recipe(
    epochs=1, batch_size=40, learning_rate=0.01, augment=None, warmup_epochs=0, distillation=0.3
)


def part(job, stop):
    return keras.tree.map_structure(lambda a: a[:stop], (job.x, job.y))


@pytest.mark.parametrize(
    "name", mostly_nightly(JOBS, "regression [N]", "two heads", "one-hot classes")
)
def test_the_loss_of_the_whole_model_is_its_own(name):
    job, twin = JOBS[name](), JOBS[name]().model
    x, y = part(job, 40)
    supernet = Supernet(job.model, distillation=0.5, seed=1)
    compile_like(supernet, job.model, optimizer=keras.optimizers.SGD(0.01))
    logs = supernet.train_on_batch(x, y, return_dict=True)
    expected = twin.compute_loss(x, y, twin(x, training=True), training=True)
    assert logs["largest_loss"] == pytest.approx(float(expected), rel=1e-4)
    assert np.isfinite([logs["smallest_loss"], logs["random_loss"], logs["loss"]]).all()
    is_classifier = name in ("sparse classes", "one-hot classes")
    assert ("largest_accuracy" in logs) is is_classifier


@pytest.mark.parametrize("name", mostly_nightly(["two heads", "segmentation"], "two heads"))
def test_it_is_trained_and_its_figures_are_recorded(name, capsys):
    job = JOBS[name]()
    model, before = job.model, [weight.copy() for weight in job.model.get_weights()]
    split = TreeSplit(part(job, 80))
    history = training.fit_supernet(
        model,
        SearchSpace(trace(model)),
        lambda epoch: split.dataset(RECIPE.batch_size, shuffle=True, seed=1, epoch=epoch),
        RECIPE,
    )
    assert all(len(values) == 1 and np.isfinite(values[0]) for values in history.values())
    named = set(model.evaluate(*part(job, 20), verbose=0, return_dict=True))
    assert named <= set(history)
    assert any((a != b).any() for a, b in zip(model.get_weights(), before, strict=True))
    assert "epoch 1/1: loss" in capsys.readouterr().out


def test_what_a_compiled_loss_does_not_take_is_refused():
    job = JOBS["regression [N]"]()
    recipe = training.Recipe(epochs=1, label_smoothing=0.1)
    with pytest.raises(ValueError, match="`label_smoothing` is for classifiers"):
        training.fit_supernet(job.model, SearchSpace(trace(job.model)), None, recipe)
