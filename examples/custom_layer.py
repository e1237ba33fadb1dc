"""Teaches tfrcp a layer of one's own, so that the pruned network holds it as such.

Without the rule the layer is opened: the pruned network multiplies by its weight.

python examples/custom_layer.py
"""

import keras
import numpy as np

import tfrcp
from tfrcp.graph.atoms import axis_labels
from tfrcp.graph.rules import Rule


@keras.saving.register_keras_serializable("examples")
class ChannelGain(keras.layers.Layer):
    """Multiplies every channel by a trained number of its own, [channels]."""

    def build(self, input_shape):
        self.gain = self.add_weight(name="gain", shape=(input_shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.gain


class ChannelGainRule(Rule):
    """How channels pass a `ChannelGain`."""

    def trace(self, call, atoms):
        value = call.inputs[0]
        # Which channel lies at each position.
        channels = axis_labels(atoms[value], value, axis=-1)
        if channels is None:
            atoms.give_up(call, "channels do not lie along the last axis")
            return
        atoms.weight(call, "gain", {0: ("channelwise", channels)})  # slice the weight with them
        atoms[call.outputs[0]] = atoms[value]  # the same channels leave the layer

    def run(self, call, arrays, args, kwargs):
        return args[0] * arrays["gain"]  # on the weight that was sliced


def main() -> None:
    """Traces a network with the layer before and after the rule is known, and prunes it."""
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu", name="conv")(image)
    x = ChannelGain(name="gain")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(4, name="classifier")(x), name="custom")

    print(tfrcp.trace(model).explain(), end="\n\n")
    tfrcp.register_rule(ChannelGain, ChannelGainRule())
    graph = tfrcp.trace(model)
    print(graph.explain())

    scores = tfrcp.criteria.get("l1")(model, graph)
    pruned = tfrcp.slice_model(model, graph, tfrcp.select(graph, scores, [5]))
    print(f"\ngain: {model.get_layer('gain').gain.shape} -> {pruned.get_layer('gain').gain.shape}")
    assert np.isfinite(pruned(np.ones((1, 16, 16, 3)))).all()


if __name__ == "__main__":
    main()
