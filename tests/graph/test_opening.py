"""Which composite layers are opened, and what is said of the others."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfrcp


class Weighted(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.conv = layers.Conv2D(6, 1)

    def build(self, shape):
        self.conv.build(shape)
        self.scale = self.add_weight(shape=(6,), name="scale")

    def call(self, x):
        return self.conv(x) * self.scale


class Reading(Weighted):
    def build(self, shape):
        self.conv.build(shape)

    def call(self, x):
        return self.conv(x) * ops.sum(self.conv.kernel)


class Kernel(Reading):
    def call(self, x):
        return ops.matmul(self.conv(x), self.conv.kernel[0, 0])


class Losing(Reading):
    def call(self, x):
        self.add_loss(ops.sum(x))
        return self.conv(x)


class Locked(Reading):
    def __init__(self, **options):
        super().__init__(**options)
        self.norm = layers.BatchNormalization()

    def build(self, shape):
        self.conv.build(shape)
        self.norm.build(shape)

    def call(self, x):
        return self.norm(self.conv(x), training=False)


class Branching(Reading):
    def call(self, x, training=False):
        return self.conv(x) * 0.5 if training else self.conv(x)


class Numbers(Reading):
    def call(self, x, training=False):
        return self.conv(x) * (0.5 if training else 2.0)


class Order(Reading):
    def call(self, x, training=False):
        return ops.relu(self.conv(x) - 1) if training else ops.relu(self.conv(x)) - 1


class Other(Reading):
    def __init__(self, **options):
        super().__init__(**options)
        self.other = layers.Conv2D(6, 1)

    def build(self, shape):
        self.conv.build(shape)
        self.other.build(shape)

    def call(self, x, training=False):
        return self.other(x) if training else self.conv(x)


class Either(Reading):
    def call(self, x):
        y = ops.cond(ops.sum(x) > 0, lambda: x, lambda: -x)
        return self.conv(y)


class Making(Reading):
    def call(self, x, training=False):
        x = layers.Activation("relu" if training else "gelu")(x)
        return self.conv(x)


class Noisy(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.conv = layers.Conv2D(6, 1)

    def call(self, x, noisy=False):
        return 2 * self.conv(x) if noisy else self.conv(x)


class Flagging(Reading):
    def __init__(self, **options):
        super().__init__(**options)
        self.noisy = Noisy()

    def call(self, x, training=False):
        return self.noisy(self.conv(x), noisy=bool(training))


class Joining(Reading):
    def call(self, x):
        return self.conv(x) - ops.mean(x, axis=0)


class Repeating(Reading):
    def call(self, x):
        return ops.concatenate([self.conv(x), ops.zeros((ops.shape(x)[0], 4, 4, 2))], axis=-1)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Reading, "computes with its weights"),
        (Kernel, "weight"),
        (Losing, "add_loss"),
        (Locked, "training=False"),
        *(
            (kind, "something else in training")
            for kind in (Branching, Numbers, Order, Other, Making, Flagging)
        ),
        (Either, "may give what it is given"),
        (Joining, ""),
        (Repeating, "batch size"),
    ],
)
def test_what_cannot_be_told_stays_whole(kind, reason):
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(6, 1, name="before")(inputs)
    x = kind(name="block")(x)
    x = layers.Conv2D(5, 1, name="after")(x)
    model = keras.Model(inputs, layers.Conv2D(2, 1)(x))
    graph = tfrcp.trace(model)
    if kind is Joining:
        assert "after" in {group.name for group in graph.prunable}
        return
    assert reason in graph.calls.closed["block"]
    assert [group.name for group in graph.prunable] == ["after"]
    assert reason in " ".join(graph.explain().split())


class Passing(Reading):
    def call(self, x, training=False):
        return self.conv(x, training=training)


def test_training_is_handed_to_a_layer_that_does_not_take_it():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 1, name="last")(Passing(name="block")(inputs))
    graph = tfrcp.trace(keras.Model(inputs, x))
    assert not graph.calls.closed
    assert [group.name for group in graph.prunable] == ["block/conv"]


class Scored(layers.Layer):
    """Returns what a transformer's layer does that was not asked for its scores."""

    def __init__(self, **options):
        super().__init__(**options)
        self.project = layers.Dense(6)

    def build(self, shape):
        self.project.build(shape)

    def call(self, x):
        return self.project(x), None


class Scoring(Scored):
    """Has no scores of what it holds, but says so in a tensor."""

    def __init__(self, **options):
        super().__init__(**options)
        self.project = Scored()

    def call(self, x):
        return self.project(x)[0], ops.zeros((0, 6))


@pytest.mark.parametrize("read", [False, True])
def test_layer_that_returns_a_constant_is_opened_if_nobody_reads_it(read):
    inputs = keras.Input((3,))
    x, empty = Scoring(name="scoring")(inputs)
    x = layers.Dense(2)(ops.sum(empty) + x if read else x)
    graph = tfrcp.trace(keras.Model(inputs, x))
    names = [group.name for group in graph.prunable]
    assert names == ([] if read else ["scoring/project/project"])
    reason = "it returns something that does not depend on its inputs"
    assert graph.calls.closed == ({"scoring": reason} if read else {})


class Kept(layers.Layer):
    """Weights with a penalty, and one that must not become negative."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="scale", regularizer="l2")
        self.kernel = self.add_weight(
            shape=(1, 1, shape[-1], 5), name="kernel", regularizer="l1", constraint="non_neg"
        )

    def call(self, x):
        return ops.conv(x * self.scale, self.kernel)


class Bounded(Kept):
    """Whose constraint goes by rows."""

    def build(self, shape):
        super().build(shape)
        self.scale = self.add_weight(shape=(1, 1, shape[-1]), name="bounded", constraint="max_norm")


def test_penalties_and_constraints_of_weights_are_kept():
    inputs = keras.Input((4, 4, 3))
    x = Kept(name="kept")(layers.Conv2D(6, 1, name="before")(inputs))
    model = keras.Model(inputs, layers.Conv2D(2, 1, name="last")(x))
    for variable in model.variables:
        variable.assign(np.random.default_rng(0).uniform(0.5, 1.5, variable.shape))
    graph = tfrcp.trace(model)
    assert not graph.calls.closed
    whole = tfrcp.slice_model(model, graph, {})
    assert len(model.losses) == 2
    np.testing.assert_allclose(sorted(model.losses), sorted(whole.losses), rtol=1e-6)
    pruned = tfrcp.slice_model(model, graph, {"before": np.arange(6) < 4})
    (kernel,) = (v for v in pruned.variables if v.constraint is not None)
    assert type(kernel.constraint) is keras.constraints.NonNeg
    assert np.prod(kernel.shape) == 4 * 5


def test_a_constraint_that_may_ask_for_the_shape_keeps_a_layer_whole():
    inputs = keras.Input((4, 4, 3))
    x = Bounded(name="bounded")(layers.Conv2D(6, 1, name="before")(inputs))
    graph = tfrcp.trace(keras.Model(inputs, layers.Conv2D(2, 1, name="last")(x)))
    assert "`MaxNorm` may ask for the shape" in graph.calls.closed["bounded"]
