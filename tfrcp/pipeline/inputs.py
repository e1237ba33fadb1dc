"""What a run starts from: the data, the network before training, the space and the budget."""

from __future__ import annotations

import os
from typing import Any

import keras

from tfrcp import models
from tfrcp.data import Splits, load
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.trace import trace
from tfrcp.pipeline.checks import builder
from tfrcp.space import Budget, SearchSpace


def load_data(config: dict[str, Any]) -> Splits:
    """Loads the data that the configuration names."""
    data = config["data"]
    return load(
        data["name"],
        data_dir=data["data_dir"],
        holdout=data["holdout"],
        seed=config["seed"],
        download=data["download"],
        mean=data["mean"] or None,
        std=data["std"] or None,
    )


def initial_model(config: dict[str, Any], data: Splits) -> keras.Model:
    """The network before training: built, or read from `config.model.base`.

    Raises:
        ValueError: If there is no such file, or the network does not fit the data.
    """
    base = config["model"]["base"]
    if base and not os.path.isfile(base):
        raise ValueError(
            f"`config.model.base` must be a file. Received: {base!r}, which is missing"
        )
    if base.endswith(".keras"):
        try:
            model = models.load_keras(base)
        except ValueError as error:
            raise ValueError(f"`config.model.base`: {error}") from None
        trace(model)  # Refuses a subclassed model.
    else:
        model = builder(config)(
            data.input_shape, data.classes, seed=config["seed"], **config["model"]["options"]
        )
        if base:
            models.load_pytorch_cifar_resnet(model, base)
    shapes = [tuple(x.shape[1:]) for x in (*model.inputs, *model.outputs)]
    expected = [tuple(data.input_shape), (data.classes,)]
    if shapes != expected:
        raise ValueError(
            f"The network must map images {expected[0]} to {data.classes} classes, as the data "
            f"'{data.name}'. Received: {base or model.name} with shapes {shapes}"
        )
    return model


def budget(options: dict[str, Any]) -> Budget:
    """The budget of `config.search`."""
    return Budget(_target(options["flops"]), _target(options["params"]), options["tolerance"])


def space(graph: ChannelGraph, options: dict[str, Any]) -> SearchSpace:
    """The search space of `config.search`."""
    ratios = options["min_ratio"], options["max_ratio"]
    return SearchSpace(graph, *ratios, options["divisor"], options["fixed"], tied=options["tied"])


def _target(number: float | None) -> float | int | None:
    """A budget from the configuration: whole numbers above 1 are absolute."""
    whole = number is not None and 1 < number < float("inf") and number == int(number)
    return int(number) if whole else number
