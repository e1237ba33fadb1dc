"""CONTRIBUTING's promises: each kind of part is one new file, here a class, and one more line.

Every test adds a part as a contributor would, by the one line, and uses it by the public names.
"""

from __future__ import annotations

import zipfile

import keras
import numpy as np
import pytest
from keras import layers

import tfrcp
from tests.networks import NETWORKS, conv, head, image
from tests.references import assert_consistent
from tests.search.small_search import GROUPS, HOLDOUT, TRAIN, network
from tfrcp.allocation import ALLOCATIONS, Allocation
from tfrcp.criteria import CRITERIA, Criterion
from tfrcp.deployment.bundle import kinds_of
from tfrcp.deployment.formats import FORMATS, Format
from tfrcp.deployment.runtimes import Runner
from tfrcp.graph.rules import ElementwiseRule, KernelRule, Product
from tfrcp.scoring.kinds import Objective
from tfrcp.scoring.meters import MeanMeter
from tfrcp.search import Sampler
from tfrcp.search.oracles import ChannelOracle
from tfrcp.search.prune import SEARCHES
from tfrcp.search.tuner import ChannelSearch
from tfrcp.space.costs import COSTS, Cost
from tfrcp.space.sampling.enumeration import feasible_vectors

BUDGET = tfrcp.Budget(flops=0.5, tolerance=0.05)
FAST = {"verbose": False, "budget": BUDGET, "max_trials": 3, "reconstruction": "none"}


@pytest.fixture(scope="module")
def model():
    return network()


def pruned(model, **options):
    options = {**FAST, "search": "random", **options}
    return tfrcp.prune(model, *TRAIN, validation_data=HOLDOUT, **options)


def widths(model):
    return [model.get_layer(name).filters for name in GROUPS]


class Last(Criterion):
    """Keeps the last channels of every group."""

    def __call__(self, model, graph, data=None):
        return {group.name: np.arange(float(group.size)) for group in graph.prunable}


def test_a_criterion(model, monkeypatch):
    monkeypatch.setitem(CRITERIA, "last", Last)
    found = pruned(model, criterion="last")
    (width, *_) = widths(found)
    (kernel, *_), (original, *_) = (m.get_layer(GROUPS[0]).get_weights() for m in (found, model))
    np.testing.assert_array_equal(kernel, original[..., -width:])
    assert tfrcp.criteria.serialize(Last()) == {"class_name": "last", "config": {}}


class LargestFirst(Sampler):
    """Proposes what meets the budget, the widest first group first."""

    def propose(self):
        for vector in feasible_vectors(self.space, self.bounds)[::-1]:
            if not self.known(vector):
                return vector
        raise self.exhausted(0)


class LargestFirstOracle(ChannelOracle):
    """Proposes the vectors of `LargestFirst`."""

    sampler_class = LargestFirst


class LargestFirstSearch(ChannelSearch):
    """Tries the vectors of `LargestFirst`."""

    oracle_class = LargestFirstOracle


def test_a_sampler(model, monkeypatch, tmp_path):
    monkeypatch.setitem(SEARCHES, "largest_first", LargestFirstSearch)
    found = widths(pruned(model, search="largest_first"))
    graph = tfrcp.trace(model)
    sampler = LargestFirst(tfrcp.SearchSpace(graph), tfrcp.CostModel(graph), BUDGET)
    expected = sampler.again().suggest(3).tolist()
    assert found in expected and found[0] == 8
    # As it is, it needs no line at all, and the search takes its space and budget from it.
    tuner = tfrcp.RandomChannelSearch(model, sampler=sampler, max_trials=3, directory=tmp_path)
    tuner.search(*TRAIN, validation_data=HOLDOUT, verbose=False)
    trials = tuner.oracle.trials.values()
    assert [tuner.channels_of(trial).tolist() for trial in trials] == expected


class Halves(Allocation):
    """Half of every group, changed until the budget is met."""

    def allocate(self, problem):
        return problem.projected(problem.nearest(np.full(len(problem.space.choices), 0.5)))


def test_an_allocation(model, monkeypatch):
    monkeypatch.setitem(ALLOCATIONS, "halves", Halves)
    graph = tfrcp.trace(model)
    space, cost = tfrcp.SearchSpace(graph), tfrcp.CostModel(graph)
    vector = tfrcp.allocation.get("halves")(graph, {}, space, cost, BUDGET)
    low, high = BUDGET.window(cost.full.flops)
    assert low <= cost(vector).flops[0] <= high


@keras.saving.register_keras_serializable("tfrcp_tests")
class Gain(layers.Layer):
    """Multiplies every channel by a number of its own."""

    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="gain")

    def call(self, x):
        return x * self.gain


class GainRule(ElementwiseRule):
    """`Gain`: one number for each channel."""

    def trace(self, call, atoms):
        atoms.weight(call, "gain", {0: ("channelwise", atoms[call.inputs[0]].ravel())})
        super().trace(call, atoms)

    def run(self, call, arrays, args, kwargs):
        return args[0] * keras.ops.cast(arrays["gain"], args[0].dtype)


def test_a_layer_rule():
    inputs = image()
    model = keras.Model(inputs, head(conv(5, "b")(Gain(name="gain")(conv(4, "a")(inputs)))))
    tfrcp.register_rule(Gain, GainRule())
    graph = tfrcp.trace(model)
    assert [group.name for group in graph.prunable] == ["a", "b"]
    assert ("gain", "gain") in {(part.layer, part.weight) for part in graph.groups[0].slices}
    assert_consistent(model)


class NumpyArchive(Format):
    """The weights and configuration in an .npz file."""

    title, suffix = "NumPy archive", ".npz"

    def write(self, model, path, quantization, calibration):
        np.savez(path, *model.get_weights(), config=model.to_json())

    def made(self, path):
        return zipfile.is_zipfile(path)

    def load(self, path):
        return NumpyRunner(path)


class NumpyRunner(Runner):
    """Runs a `NumpyArchive`."""

    def __init__(self, path):
        with np.load(path) as file:
            self.model = keras.models.model_from_json(str(file["config"]))
            self.model.set_weights([file[f"arr_{i}"] for i in range(len(file.files) - 1)])
        self.inputs = tuple(tensor.name for tensor in self.model.inputs)

    def run(self, batch):
        inputs = [batch[name] for name in self.inputs]
        outputs = self.model(keras.tree.pack_sequence_as(self.model.input, inputs))
        return [keras.ops.convert_to_numpy(array) for array in keras.tree.flatten(outputs)]


def test_an_export_format(model, monkeypatch, tmp_path):
    monkeypatch.setitem(FORMATS, "numpy", NumpyArchive())
    done = tfrcp.export(model, tmp_path / "model.npz", format="numpy", sample=HOLDOUT[0])
    assert done.path.exists() and done.max_difference < 1e-5
    tfrcp.export(model, done.path, format="numpy", overwrite=True)
    assert kinds_of(FORMATS)["numpy"].title == "NumPy archive"  # as reports call it
    with pytest.raises(ValueError, match="`quantization` must be one of .None."):
        tfrcp.export(model, tmp_path / "other.npz", format="numpy", quantization="int8")


class MemoryTraffic(Cost):
    """Numbers that layers with a kernel read and write: inputs and outputs."""

    name, unit = "memory_traffic", "numbers moved"

    def products(self, use):
        if isinstance(use.rule, KernelRule):
            for value, labels in zip(
                (use.call.inputs[0], use.call.outputs[0]),
                use.rule.ends(use.call, use.labels),
                strict=True,
            ):
                yield Product(int(np.prod(value.shape[1:])) // len(labels), (labels,))


def test_a_cost(model, monkeypatch, tmp_path):
    monkeypatch.setitem(COSTS, "memory_traffic", MemoryTraffic())
    chain = tfrcp.CostModel(tfrcp.trace(NETWORKS["chain"].build()))
    #                                   in  out       in  out  in out
    assert chain.full.memory_traffic == 36 * (2 + 4) + 36 * (4 + 6) + 6 + 3
    assert chain(np.array([3, 1])).memory_traffic == 36 * (2 + 3) + 36 * (3 + 1) + 1 + 3

    space = tfrcp.SearchSpace(tfrcp.trace(model))
    assert "numbers moved" in space.summary(tfrcp.CostModel(space.graph))
    for budget in (
        tfrcp.Budget(flops=0.5, tolerance=0.05, costs={"memory_traffic": 0.6}),
        tfrcp.Budget(costs={"memory_traffic": 0.6}, tolerance=0.02),
    ):
        tuner = tfrcp.RandomChannelSearch(
            model, budget=budget, max_trials=6, directory=tmp_path, project_name=str(budget)
        )
        tuner.search(*TRAIN, validation_data=HOLDOUT, verbose=False)
        vectors = np.array([tuner.channels_of(t) for t in tuner.oracle.trials.values()])
        limit = 0.6 * tuner.cost.full.memory_traffic
        assert len(vectors) == 6 and (tuner.cost(vectors).memory_traffic <= limit).all()
    assert "numbers moved" in str(tuner.store.sampler.bounds)
    with pytest.raises(ValueError, match="must be among .*'memory_traffic'.*Received: 'energy'"):
        pruned(model, budget=tfrcp.Budget(costs={"energy": 0.5}))


class Margin(Objective):
    """By how much the right class leads."""

    is_mean = True

    def __init__(self):
        super().__init__("val_margin", "max", "lead of the right class")

    def meter(self, model):
        return MeanMeter(self.values)

    def values(self, y, outputs, sample_weight=None):
        outputs = np.array(outputs)
        right = outputs[np.arange(len(y)), y].copy()
        outputs[np.arange(len(y)), y] = -np.inf
        return right - outputs.max(axis=1)


def test_an_objective(model, tmp_path):
    tuner = tfrcp.RandomChannelSearch(
        model, budget=BUDGET, objective=Margin(), max_trials=3, racing=False, directory=tmp_path
    )
    tuner.search(*TRAIN, validation_data=HOLDOUT, verbose=False)
    (best,) = tuner.get_best_models(1)
    images, labels = HOLDOUT
    expected = Margin().values(labels, best.predict(images, verbose=0)).mean()
    scores = [trial.score for trial in tuner.oracle.trials.values()]
    assert max(scores) == pytest.approx(expected, abs=1e-4)
