"""What can be wrong with a configuration, before anything is loaded or computed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfrcp import criteria, models, training
from tfrcp.data import AUGMENTATIONS
from tfrcp.deployment.bundle import kinds
from tfrcp.search.distributed import role
from tfrcp.search.prune import SEARCHES
from tfrcp.search.tensorboard import check_tensorboard
from tfrcp.search.tuner import RECONSTRUCTIONS

TRAININGS = ("supernet", "train", "finetune")


def check(config: dict[str, Any]) -> None:
    """Refuses what any stage would stumble over.

    Args:
        config: Nested dict; see `configs/default.py` and `configs/scratch.py`.

    Raises:
        ValueError: If a field is wrong, with what would do.
    """
    criteria.get(config["search"]["criterion"])
    if config["data"]["factory"] or config["model"]["factory"]:
        _check_factories(config)
    else:
        builder(config)
    if config["tensorboard"]:
        check_tensorboard("config.tensorboard")
    if config["search"]["stages"] > 1 and role() is not None:
        raise ValueError(
            "`config.search.stages` above 1 is for one process: networks are fine-tuned in between."
            f" Received: {config['search']['stages']}"
        )
    if config["search"]["latency"] is not None and (
        config["search"]["stages"] > 1 or role() is not None
    ):
        raise ValueError(
            "`config.search.latency` is for one process and one stage: every machine measures "
            f"another time. Received: {config['search']['latency']}"
        )
    for path, least in (
        ("seed", 0),
        ("search.calibration_images", 2),
        ("search.batch_norm_images", 2),
        ("search.stages", 1),
        ("evaluate.batch_size", 1),
        ("evaluate.latency_batch_size", 1),
        ("export.calibration_images", 1),
        ("export.accuracy_tolerance", 0),
        ("export.score_tolerance", 0),
    ):
        value = _field(config, path)
        if value < least:
            raise ValueError(f"`config.{path}` must be at least {least}. Received: {value}")
    for path, known in (
        ("search.sampler", SEARCHES),
        ("search.reconstruction", RECONSTRUCTIONS),
        *((f"{name}.augment", (None, *AUGMENTATIONS)) for name in TRAININGS if name in config),
    ):
        value = _field(config, path)
        if value not in known:
            raise ValueError(f"`config.{path}` must be one of {list(known)}. Received: {value!r}")
    try:
        kinds(config["export"]["format"])
    except ValueError as error:
        raise ValueError(f"`config.export.format` {error}") from None
    if config["train"]["distillation"]:
        raise ValueError(
            "`config.train.distillation` must be 0: there is no teacher yet. Received: "
            f"{config['train']['distillation']}. `config.finetune.distillation` imitates the base"
        )


def _check_factories(config: dict[str, Any]) -> None:
    """Refuses what does not go with data or a network of a function of the user's."""
    data, model = config["data"]["factory"], config["model"]["factory"]
    if "supernet" in config:
        raise ValueError(
            "Pruning from scratch builds networks of other widths, which takes a builder of "
            "tfrcp.models: `config.data.factory` and `config.model.factory` must be empty. "
            f"Received: {data!r}, {model!r}"
        )
    if model and config["model"]["base"]:
        raise ValueError(
            "`config.model.factory` and `config.model.base` exclude each other: load the weights "
            f"in the function. Received: {model!r}, {config['model']['base']!r}"
        )
    if data and not (model or config["model"]["base"].endswith(".keras")):
        raise ValueError(
            "With `config.data.factory` the network says what its targets mean: "
            "`config.model.factory` must name a function that returns a compiled keras.Model, or "
            "`config.model.base` a compiled one in a .keras file. Received: "
            f"{config['model']['base']!r}"
        )
    for name in TRAININGS:
        augment = config[name]["augment"] if data and name in config else None
        if augment is not None:
            raise ValueError(
                f"`config.{name}.augment` is for images of the data sets that tfrcp reads itself: "
                f"set --config.{name}.augment=none, and augment in the network or in the data. "
                f"Received: {augment!r}"
            )


def check_recipes(recipes: dict[str, training.Recipe], strategy: tf.distribute.Strategy) -> None:
    """Refuses recipes that cannot be followed on these devices, naming the fields."""
    for name, recipe in recipes.items():
        try:
            recipe.check(strategy.num_replicas_in_sync)
        except ValueError as error:
            raise ValueError(f"`config.{name}`: {error}") from None


def builder(config: dict[str, Any]) -> Callable[..., keras.Model]:
    """The builder that the configuration names; refuses options that it does not take."""
    name, options = config["model"]["name"], config["model"]["options"]
    models.full_channels(name)  # Refuses an unknown name.
    found = getattr(models, name)
    taken = {"input_shape", "classes", "channels", "seed"}
    known = set(inspect.signature(found).parameters) - taken
    unknown = sorted(set(options) - known)
    if unknown:
        raise ValueError(
            f"`config.model.options` must be among {sorted(known)}, as `tfrcp.models.{name}` "
            f"takes them. Received: {unknown}"
        )
    return found


def _field(config: dict[str, Any], path: str) -> Any:
    for name in path.split("."):
        config = config[name]
    return config
