"""Training on several devices or machines, by `tf.distribute`.

Keras leaves traps here: a model built outside the strategy's scope fails, batch norm keeps other
statistics on each device unless it is synchronised, what is saved is the first device's copy, and a
device left without an example stops the program. `training_copy` and `distribute` avoid them, so
that a caller hands over any model and any batches and never sees a scope.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrcp.data import Batches

NAMES = ("auto", "none", "mirrored", "multi_worker", "tpu")


def strategy(name: str = "auto", *, devices: Sequence[str] | None = None) -> tf.distribute.Strategy:
    """Returns the strategy to train with.

    Args:
        name: `"none"` for TensorFlow's default, one device without overhead; `"mirrored"` for a
            copy of the model on each of several devices, which share every batch; `"auto"` for
            `"mirrored"` if there are several GPUs, else `"none"`; `"multi_worker"` for several
            machines (or processes), each of which is started alike and told by the environment
            variable TF_CONFIG who it is: call this first of all then; `"tpu"` for the TPU of this
            machine.
        devices: Names of the devices to mirror on, such as `["GPU:0", "GPU:1"]`; by default all
            GPUs that TensorFlow sees.

    Returns:
        A strategy; its `num_replicas_in_sync` is the number of devices.

    Raises:
        ValueError: The name is unknown or not supported, the devices are too few or not there, or
            TF_CONFIG is wrong.
    """
    if name not in NAMES:
        why = "Keras 3 does not support parameter servers. " if "parameter" in str(name) else ""
        raise ValueError(f"`name` must be one of {NAMES}. {why}Received: name={name!r}")
    if devices is not None:
        visible = _visible_devices()
        fits = name in ("mirrored", "auto") and len(set(devices)) > 1
        if not fits or not set(devices) <= set(visible):
            raise ValueError(
                "`devices` must be two or more that TensorFlow sees, for 'mirrored' or 'auto'; "
                "CUDA_VISIBLE_DEVICES chooses a single GPU. TensorFlow sees: "
                f"{', '.join(visible)}. Received: devices={devices!r}, name={name!r}"
            )
    elif name == "multi_worker":
        return _multi_worker()
    elif name == "tpu":
        return _tpu()
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


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes files: the first worker, or the only process."""
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return True
    return resolver.task_type == "chief" or (
        resolver.task_id == 0 and "chief" not in resolver.cluster_spec().jobs
    )


def _multi_worker() -> tf.distribute.Strategy:
    """The strategy of the cluster that TF_CONFIG describes."""
    text = os.environ.get("TF_CONFIG", "")
    example = (
        'TF_CONFIG={"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": '
        '"worker", "index": 0}}'
    )
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        kind, index = task["type"], task["index"]
        hosts = cluster[kind]
        wrong = set(cluster) - {"chief", "worker"}
        if wrong:
            raise ValueError(f"its cluster has {sorted(wrong)}; only 'chief' and 'worker' train")
        if not isinstance(index, int) or not 0 <= index < len(hosts):
            raise ValueError(f"its task index is {index!r}, of {len(hosts)} in {kind!r}")
        if not all(":" in host for host in hosts):
            raise ValueError(f"its hosts must be HOST:PORT, and are {hosts}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = "is not set" if not text else f"cannot be used ({type(error).__name__}: {error})"
        raise ValueError(
            f"`name='multi_worker'` needs the environment variable TF_CONFIG, which {what}. On "
            f"each machine set something like {example}"
        ) from None
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise ValueError(
            "The strategy 'multi_worker' must be made before TensorFlow is used for anything else: "
            f"{error}"
        ) from None


def _tpu() -> tf.distribute.Strategy:
    """The strategy of this machine's TPU."""
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver("local")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise ValueError(
            f"`name='tpu'` needs a machine with a TPU: {str(error).splitlines()[0]}"
        ) from None


def training_copy(model: keras.Model, precision: str = "float32") -> keras.Model:
    """Returns the model to train in place of `model`, under the current strategy.

    On one device it shares all layers with `model`: training it trains `model`, whose compilation
    stays as it is. On several, or in another precision, it is a copy, built in the strategy's
    scope, whose batch norm is synchronised; `copy_variables` brings the result back.

    Args:
        model: Functional or Sequential, built.
        precision: Name of the Keras dtype policy to compute in; "float32" leaves the layers'.

    Raises:
        ValueError: `model` is something else.
    """
    ends = [getattr(model, name, None) or () for name in ("inputs", "outputs")]
    if not isinstance(model, keras.Model) or not all(ends):
        raise ValueError(
            "`model` must be a Functional or Sequential keras.Model, built. "
            f"Received: {model!r} of type {type(model).__name__}"
        )
    several = tf.distribute.get_strategy().num_replicas_in_sync > 1
    if not several and precision == "float32":
        if len(ends[0]) == len(ends[1]) == 1:
            return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
        return keras.Model(model.input, model.output, name=model.name)

    def copy_of(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if several and isinstance(layer, keras.layers.BatchNormalization):
            config["synchronized"] = True
        if precision != "float32":
            config["dtype"] = precision
        return type(layer).from_config(config)

    with _not_compiled(model):
        copy = keras.models.clone_model(model, clone_function=copy_of, recursive=True)
    copy_variables(model, copy)
    return copy


@contextlib.contextmanager
def _not_compiled(model: keras.Model) -> Iterator[None]:
    """Within it neither the model nor one in it counts as compiled.

    Keras compiles a clone from what it can write down of losses, which a user's own need not be.
    """
    found, rest = [], [model]
    while rest:
        layer = rest.pop()
        rest += getattr(layer, "layers", ())
        if getattr(layer, "compiled", False):
            found.append(layer)
    for layer in found:
        layer.compiled = False
    try:
        yield
    finally:
        for layer in found:
            layer.compiled = True


def copy_variables(source: keras.Model, target: keras.Model) -> None:
    """Sets every variable of `target`, random states included, to that of `source`."""
    for old, new in zip(target.variables, source.variables, strict=True):
        old.assign(new.numpy())


def share_variables(model: keras.Model, strategy: tf.distribute.Strategy) -> None:
    """Gives all workers the variables of the first one; elsewhere it does nothing."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return
    values = [variable.numpy() for variable in model.variables]
    own = np.concatenate([np.ravel(value).astype("float64") for value in values])

    def first() -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        is_first = context.replica_id_in_sync_group == 0
        return context.all_reduce("SUM", tf.where(is_first, own, tf.zeros_like(own)))

    total = strategy.experimental_local_results(strategy.run(tf.function(first)))[0].numpy()
    ends = np.cumsum([value.size for value in values])[:-1]
    for variable, value in zip(model.variables, np.split(total, ends), strict=True):
        variable.assign(value.reshape(variable.shape).astype(variable.dtype))


def distribute(batches: tf.data.Dataset | Batches, strategy: tf.distribute.Strategy) -> Any:
    """Spreads the batches over the replicas of a strategy, equal parts of each batch to each.

    Every worker reads all batches, and finishes its part alone, so that the examples of a step are
    the same whatever the number of replicas. What a batch lacks to be divisible is filled up with
    its own first examples, of weight 0: a replica without examples breaks synchronised batch norm.

    Args:
        batches: Batches (x, y) or (x, y, sample_weight), the same on all workers.
        strategy: The strategy.

    Returns:
        Batches (x, y, ..., weight, total) for `strategy.run`: the part of a replica, its weights
        float32 [n], and the number of examples of the whole batch, float32.
    """
    replicas = strategy.num_replicas_in_sync
    if not isinstance(batches, Batches):
        batches = _flat(batches)

    def parts_of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        own = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * own

        def parts(*arrays: Any) -> tf.data.Dataset:
            total = tf.shape(arrays[0])[0]
            size = -(-total // replicas)

            def part(replica: tf.Tensor) -> tuple[Any, ...]:
                index = tf.range(size) + tf.cast(replica, "int32") * size
                weight = tf.cast(index < total, "float32")
                chosen = [tf.gather(array, index % total) for array in arrays]
                return *chosen, weight, tf.cast(total, "float32")

            if replicas == 1:
                whole = *arrays, tf.ones(total), tf.cast(total, "float32")
                return tf.data.Dataset.from_tensors(whole)
            return tf.data.Dataset.range(first, first + own).map(part)

        def finish(*part: Any) -> tuple[Any, ...]:
            *arrays, weight, total = part
            return *batches.finish(*arrays), weight, total

        finished = batches.stored.flat_map(parts).map(finish, tf.data.AUTOTUNE)
        return finished.prefetch(own + 1)

    return strategy.distribute_datasets_from_function(parts_of_worker)


def _flat(dataset: tf.data.Dataset) -> Batches:
    """Batches of a data set of any structure, as flat tuples of tensors that are packed later."""
    spec = dataset.element_spec
    structure = spec if isinstance(spec, tuple) else (spec,)
    stored = dataset.map(lambda *parts: tuple(tf.nest.flatten(parts)))
    return Batches(stored, lambda *leaves: tf.nest.pack_sequence_as(structure, leaves))


def _visible_devices(kind: str | None = None) -> list[str]:
    names = (device.name for device in tf.config.list_logical_devices(kind))
    return [name.removeprefix("/device:") for name in names]
