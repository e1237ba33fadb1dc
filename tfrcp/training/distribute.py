"""Training on several devices of one machine, by `tf.distribute`.

Keras leaves traps here: a model built outside the strategy's scope fails, batch norm keeps other
statistics on each device unless it is synchronised, what is saved is the first device's copy, and a
device left without an example stops the program. `stand_in` and `divisible` avoid them, so that a
caller hands over any model and any batches and never sees a scope.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

_REFUSED = {
    "multi_worker": "training on several machines is not supported yet",
    "tpu": "training on TPUs is not supported yet",
    "parameter_server": "Keras 3 does not support parameter servers",
}


def strategy(name: str = "auto", *, devices: Sequence[str] | None = None) -> tf.distribute.Strategy:
    """Returns the strategy to train with.

    Args:
        name: `"none"` for TensorFlow's default, one device without overhead; `"mirrored"` for a
            copy of the model on each of several devices, which share every batch; `"auto"` for
            `"mirrored"` if there are several devices, else `"none"`.
        devices: Names of the devices to mirror on, such as `["GPU:0", "GPU:1"]`; by default all
            GPUs that TensorFlow sees.

    Returns:
        A strategy; its `num_replicas_in_sync` is the number of devices.

    Raises:
        ValueError: The name is unknown or not supported, or the devices are too few or not there.
    """
    if name not in ("none", "mirrored", "auto"):
        why = f": {_REFUSED[name]}" if name in _REFUSED else ""
        raise ValueError(
            f"`name` must be 'none', 'mirrored' or 'auto'{why}. Received: name={name!r}"
        )
    if devices is not None:
        visible = _visible_devices()
        if name == "none" or len(set(devices)) < 2 or not set(devices) <= set(visible):
            raise ValueError(
                "`devices` must be two or more that TensorFlow sees, for 'mirrored' or 'auto'; "
                "CUDA_VISIBLE_DEVICES chooses a single GPU. TensorFlow sees: "
                f"{', '.join(visible)}. Received: devices={devices!r}, name={name!r}"
            )
    elif name != "none":
        devices = _visible_devices("GPU")
        if name == "mirrored" and len(devices) < 2:
            raise ValueError(
                "`name='mirrored'` needs two GPUs or `devices`; 'auto' takes what there is. "
                f"TensorFlow sees: {', '.join(_visible_devices())}"
            )
    if not devices or len(devices) < 2:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy(list(devices))


def stand_in(model: keras.Model) -> keras.Model:
    """Returns the model to compile and train in place of `model`, under the current strategy.

    On one device it shares all layers with `model`: training it trains `model`, whose compilation
    stays as it is. On several it is a copy, built in the strategy's scope, whose batch norm is
    synchronised; `copy_variables` brings the result back.

    Args:
        model: Functional or Sequential, built, with one input and one output.

    Raises:
        ValueError: `model` is something else.
    """
    ends = [getattr(model, name, None) or () for name in ("inputs", "outputs")]
    if not isinstance(model, keras.Model) or [len(end) for end in ends] != [1, 1]:
        raise ValueError(
            "`model` must be a Functional or Sequential keras.Model, built, with one input and one "
            f"output. Received: {model!r} of type {type(model).__name__}"
        )
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    copy = keras.models.clone_model(model, clone_function=_synchronised, recursive=True)
    copy_variables(model, copy)
    return copy


def copy_variables(source: keras.Model, target: keras.Model) -> None:
    """Sets every variable of `target`, random states included, to that of `source`."""
    for old, new in zip(target.variables, source.variables, strict=True):
        old.assign(new.numpy())


def divisible(dataset: tf.data.Dataset, replicas: int) -> tf.data.Dataset:
    """Fills each batch up with its own first examples until `replicas` divides its size.

    Otherwise the devices would weigh the examples of a last, smaller batch unevenly, and one that
    gets none breaks synchronised batch norm.
    """

    def fill(*batch):
        size = tf.shape(batch[0])[0]
        index = tf.range(-(-size // replicas) * replicas) % size
        return tuple(tf.gather(part, index) for part in batch)

    return dataset.map(fill) if replicas > 1 else dataset


def _synchronised(layer: keras.layers.Layer) -> keras.layers.Layer:
    config = layer.get_config()
    if isinstance(layer, keras.layers.BatchNormalization):
        config["synchronized"] = True
    return type(layer).from_config(config)


def _visible_devices(kind: str | None = None) -> list[str]:
    names = (device.name for device in tf.config.list_logical_devices(kind))
    return [name.removeprefix("/device:") for name in names]
