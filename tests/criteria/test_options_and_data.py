"""What the criteria share: options for coupled groups, and the data that they are given."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.criteria.small_criteria import assert_scores, kernel, labelled, network
from tfrcp import criteria
from tfrcp.criteria import L1, CoupledCriterion, EmpiricalSensitivity, KLDivergence, Taylor
from tfrcp.criteria.progress import Progress

LOOKING = [EmpiricalSensitivity, KLDivergence, Taylor]
COUPLED = [kind for kind in criteria.CRITERIA.values() if issubclass(kind, CoupledCriterion)]


@pytest.fixture(scope="module")
def chain():
    model, graph = network("chain")
    return model, graph, *labelled(model, 7)


class _PyDataset(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return -(-len(self.x) // 3)

    def __getitem__(self, index):
        part = slice(3 * index, 3 * index + 3)
        return self.x[part], self.y[part]


# Options.


@pytest.mark.parametrize("reduction, reduce", [("mean", np.mean), ("sum", np.sum), ("max", np.max)])
@pytest.mark.parametrize("normalize", [False, True])
def test_layers_are_normalized_then_reduced(reduction, reduce, normalize):
    model, graph = network("residual_b")
    norms = [np.abs(kernel(model, name)).sum(axis=(0, 1, 2)) for name in ("two", "project")]
    if normalize:
        norms = [norm / norm.mean() for norm in norms]
    scores = L1(reduction=reduction, normalize=normalize)(model, graph)
    assert_scores({"project": scores["project"]}, {"project": reduce(norms, axis=0)}, 1e-9)


@pytest.mark.parametrize("kind", COUPLED)
def test_options_are_checked_and_kept(kind):
    criterion = kind(reduction="max", normalize=False)
    again = criteria.deserialize(criteria.serialize(criterion))
    assert (again.reduction, again.normalize) == ("max", False)
    with pytest.raises(ValueError, match=r"`reduction` must be one of .*Received: .*'median'"):
        kind(reduction="median")
    with pytest.raises(ValueError, match="`normalize` must be a bool. Received: normalize=1"):
        kind(normalize=1)


@pytest.mark.parametrize("kind", LOOKING)
@pytest.mark.parametrize("name, least", [("images", 2), ("batch_size", 1)])
def test_numbers_of_images_are_checked(kind, name, least):
    for wrong in (least - 1, 2.5, True, None, "3"):
        with pytest.raises(ValueError, match=f"`{name}` must be an int of at least {least}"):
            kind(**{name: wrong})


# Data.


@pytest.mark.parametrize("kind", LOOKING)
def test_data_may_come_in_any_form_and_batch_size(chain, kind):
    model, graph, x, y = chain
    criterion = kind(images=6)
    expected = criterion(model, graph, (x, y))
    dataset = tf.data.Dataset.from_tensor_slices((x, y))
    for data in (dataset.batch(2), dataset.batch(7), dataset.repeat().batch(4), _PyDataset(x, y)):
        for group, score in criterion(model, graph, data).items():
            np.testing.assert_array_equal(score, expected[group])


@pytest.mark.parametrize("kind", LOOKING)
def test_no_more_than_the_stated_images_are_read(chain, kind):
    model, graph, x, y = chain

    def stream():
        yield from zip(x[:4], y[:4], strict=True)
        raise RuntimeError("read too far")

    signature = (tf.TensorSpec(x.shape[1:]), tf.TensorSpec((), tf.int64))
    dataset = tf.data.Dataset.from_generator(stream, output_signature=signature).batch(4)
    kind(images=4)(model, graph, dataset)


@pytest.mark.parametrize("kind", [EmpiricalSensitivity, KLDivergence])
def test_the_batch_size_is_of_no_influence(chain, kind):
    model, graph, x, _ = chain
    expected = kind()(model, graph, x)
    for batch_size in (1, 4):
        assert_scores(kind(batch_size=batch_size)(model, graph, x), expected, 1e-5)


@pytest.mark.parametrize("kind", LOOKING)
def test_whole_numbers_are_cast(chain, kind):
    model, graph, x, y = chain
    x = (10 * x).astype("int32")
    expected = kind()(model, graph, (x.astype("float32"), y))
    assert_scores(kind()(model, graph, (x, y)), expected, 1e-6)


def test_several_inputs():
    model, graph = network("dicts")
    x, _ = labelled(model, 3)
    scores = EmpiricalSensitivity()(model, graph, x)
    assert scores["left"].shape == (4,)


NAN = np.full((7, 6, 6, 2), np.nan, dtype="float32")


@pytest.mark.parametrize("kind", LOOKING)
@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x, y: None, r"looks at .*images. Pass `data`"),
        (lambda x, y: (x[:0], y[:0]), "`data` must hold at least one image"),
        (lambda x, y: (x[:1], y[:1]), "`data` must hold at least 2 images"),
        (lambda x, y: (NAN, y), "`data` must be finite. Received: 7 of 7 images"),
        (lambda x, y: (x[..., :1], y), "`data` must hold arrays like the model's inputs"),
        (lambda x, y: (x[:, :5], y), r"Received: \[\('float32', \(7, 5, 6, 2\)\)\]"),
        (lambda x, y: (x[0], y[:6]), "`data` must hold arrays like the model's inputs"),
        (lambda x, y: ([x, x], y), "`data` must hold arrays like the model's inputs"),
        (lambda x, y: (x.astype("complex64"), y), "`data` must hold numbers"),
        (lambda x, y: (x.astype("str"), y), "`data` must hold numbers"),
        (lambda x, y: "digits", "`data` must be a batched"),
        (
            lambda x, y: tf.data.Dataset.from_tensor_slices((x, y)),
            "`data` must hold arrays",
        ),
    ],
)
def test_bad_data(chain, kind, change, message):
    model, graph, x, y = chain
    with pytest.raises(ValueError, match=message):
        kind()(model, graph, change(x, y))


@pytest.mark.parametrize("kind", LOOKING)
def test_weights_that_are_no_numbers(kind):
    model, graph = network("chain")
    model.get_layer("a_conv").kernel.assign(model.get_layer("a_conv").kernel * np.nan)
    with pytest.raises(ValueError, match="weights of layer 'a_conv' are not all finite numbers"):
        kind()(model, graph, labelled(model, 4))


@pytest.mark.parametrize("kind", LOOKING)
def test_a_model_that_gives_no_numbers(kind):
    model, graph = network("chain")
    x, y = labelled(model, 4)
    with pytest.raises(ValueError, match="The model does not give finite numbers"):
        kind()(model, graph, (x * np.float32(1e38), y))


# Progress.


def test_progress_tells_what_is_left(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = Progress("taylor", 1000, "images", 10.0, verbose=True)
    for now[0], work in ((1.0, 1), (4.0, 1), (5.0, 2), (20.0, 6)):  # the first is too early
        progress.advance(250, work)
    assert capsys.readouterr().out.splitlines() == [
        "taylor: 500/1,000 images, about 16 s left",
        "taylor: 1,000/1,000 images, 20 s",
    ]


def test_progress_is_silent_on_request(capsys, monkeypatch):
    monkeypatch.setattr(Progress, "_PATIENCE", 0.0)
    for verbose in (True, False):
        Progress("taylor", 2, "images", 2, verbose=verbose).advance(2, 2)
    assert capsys.readouterr().out.count("taylor") == 1


@pytest.mark.parametrize("kind", LOOKING)
def test_criteria_show_progress(chain, kind, capsys, monkeypatch):
    monkeypatch.setattr(Progress, "_PATIENCE", 0.0)
    model, graph, x, y = chain
    kind()(model, graph, (x, y))
    done = "10/10 masks" if kind is KLDivergence else "7/7 images"
    assert done in capsys.readouterr().out.splitlines()[-1]
