"""Which composite layers are opened, and what is said of the others."""

import keras
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
            for kind in (Branching, Numbers, Order, Other, Making)
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
