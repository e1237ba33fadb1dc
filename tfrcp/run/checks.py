"""What can be wrong with a configuration, before anything is loaded or computed."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrcp import criteria, models, training
from tfrcp.data import AUGMENTATIONS
from tfrcp.deployment.bundle import kinds
from tfrcp.search.distributed import role
from tfrcp.search.prune import SEARCHES
from tfrcp.search.scorer import RECONSTRUCTIONS
from tfrcp.search.tensorboard import check_tensorboard

TRAININGS = ("supernet", "train", "finetune")

NO_OPTIONS = "--config.model.options=none removes those of the configuration"
"""What an error about arguments adds: they may belong to another function."""

_MOST = 10**6  # more of anything that is counted is a slip of the keyboard
_WHOLE = {  # least and largest value of whole numbers
    "seed": (0, 2**32 - 1),
    "data.image_size": (0, 65_535),
    "search.max_trials": (1, _MOST),
    "search.divisor": (1, _MOST),
    "search.calibration_images": (2, 10**9),
    "search.batch_norm_images": (2, 10**9),
    "search.stages": (1, 1000),
    "evaluate.batch_size": (1, _MOST),
    "evaluate.latency_batch_size": (1, _MOST),
    "export.calibration_images": (1, 10**9),
    **{f"{name}.epochs": (0, _MOST) for name in TRAININGS},
    **{f"{name}.batch_size": (1, 10**7) for name in TRAININGS},
}
_SHARES = ("export.accuracy_tolerance", "export.score_tolerance")  # at least 0
# numbers, or None
_OPTIONAL = ("data.scale", "search.params", "search.activations", "search.latency")
_NUMBERS = ("data.holdout", "search.flops", "search.tolerance", "search.min_ratio")
_TEXTS = (
    *("name", "strategy", "data.name", "data.factory", "model.name", "model.factory"),
    *("model.base", "search.latency_format"),
)
_SWITCHES = ("tensorboard", "data.download", "data.stream", "search.racing", "export.preprocessing")


def check(config: dict[str, Any]) -> None:
    """Refuses what any stage would stumble over.

    Raises:
        ValueError: If a field is wrong, with what would do.
    """
    _check_fields(config)
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


def _check_fields(config: dict[str, Any]) -> None:
    """Refuses fields of another type, and numbers that mean nothing, such as NaN."""

    def refuse(path: str, wanted: str) -> None:
        received = f"{path.rpartition('.')[2]}={_field(config, path)!r}"
        raise ValueError(f"`config.{path}` must be {wanted}. Received: {received}")

    def whole(value: Any) -> bool:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)

    def number(value: Any) -> bool:
        return whole(value) or (isinstance(value, float | np.floating) and math.isfinite(value))

    for path, (least, most) in _WHOLE.items():
        if path.split(".")[0] not in config:
            continue  # such as the supernet
        value = _field(config, path)
        if value is None and path == "search.batch_norm_images":
            continue
        if not whole(value) or value < least:
            refuse(path, f"an int of at least {least}")
        if value > most:
            refuse(path, f"at most {most:,}")
    for path in (*_SHARES, *_NUMBERS, *_OPTIONAL):
        value = _field(config, path) if path != "data.scale" else config["data"].get("scale")
        if not number(value) and not (path in _OPTIONAL and value is None):
            refuse(path, "a number")
        if path in _SHARES and value < 0:
            refuse(path, "at least 0")
    for path in _TEXTS:
        if not isinstance(_field(config, path), str):
            refuse(path, "text")
    for path in _SWITCHES:
        if not isinstance(_field(config, path), bool):
            refuse(path, "true or false")
    for path in ("data.mean", "data.std"):
        values = _field(config, path)
        if values is not None and not (
            isinstance(values, list | tuple) and all(number(value) for value in values)
        ):
            refuse(path, "a tuple of finite numbers, one per channel, or empty")


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


def recipe(config: dict[str, Any], name: str) -> training.Recipe:
    """A recipe of the configuration; errors name its part."""
    try:
        return training.Recipe(**config[name])
    except (TypeError, ValueError) as error:
        raise ValueError(f"`config.{name}`: {error}") from None


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
            f"takes them; {NO_OPTIONS}. Received: {unknown}"
        )
    return found


def _field(config: dict[str, Any], path: str) -> Any:
    for name in path.split("."):
        config = config[name]
    return config
