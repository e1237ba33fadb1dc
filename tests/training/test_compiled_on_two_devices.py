"""What a model is compiled for is trained on two devices as on one, with losses of the user's."""

from __future__ import annotations

import pytest

from tests.training.two_devices import run

ON_TWO_DEVICES = """
import keras
from tests.scoring.jobs import JOBS
from tfrcp.data.trees import TreeSplit
from tfrcp.training import Recipe, fit

recipe = Recipe(epochs=1, batch_size=16, learning_rate=0.05, augment=None, weight_decay=0.0)
found = {}

def apart(name, change=lambda model: None, count=40):  # the last batch has eight examples
    job, histories, models = JOBS[name](), [], []
    cut = lambda tree: keras.tree.map_structure(lambda a: a[:count], tree)
    data = TreeSplit((cut(job.x), cut(job.y))).dataset(16)
    for each in (None, both):
        model = JOBS[name]().model
        change(model)
        histories.append(fit(model, data, data, recipe, strategy=each, verbose=False))
        models.append(model)
    weights = zip(models[0].get_weights(), models[1].get_weights(), strict=True)
    distance = max(float(np.abs(a - b).max()) for a, b in weights)
    for key in ("loss", "val_loss"):
        distance = max(distance, abs(histories[0][key][0] - histories[1][key][0]))
    return distance

def own(y, outputs):
    return keras.ops.abs(keras.ops.reshape(y, (-1,)) - keras.ops.reshape(outputs, (-1,)))

for name in ("regularised", "detector"):
    found[name] = apart(name)
found["function without a name"] = apart(
    "regression [N]", lambda model: model.compile("sgd", lambda y, outputs: own(y, outputs))
)
found["a batch of one"] = apart("regression [N]", count=33)
"""


@pytest.mark.nightly
def test_two_devices_train_as_one_does():
    distances = run(ON_TWO_DEVICES)
    uneven = distances.pop("a batch of one")
    assert distances == pytest.approx(dict.fromkeys(distances, 0.0), abs=1e-3)
    assert uneven < 0.1  # the other device's example is in the statistics of the last batch
