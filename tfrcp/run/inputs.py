"""What a run starts from: the data, the network before training, the space and the budget."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np

from tfrcp import models
from tfrcp.data import Splits, load, load_from_factory
from tfrcp.data.functions import load_function
from tfrcp.deployment.latency_model import LatencyModel
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.trace import trace
from tfrcp.models import imagenet_weights
from tfrcp.run.checks import NO_OPTIONS, builder
from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.sampling import RandomSampler
from tfrcp.space.sampling.settling import settle
from tfrcp.space.space import SearchSpace

APPLICATIONS = "keras.applications"
"""The `config.model.base` that downloads ImageNet weights."""


def load_data(config: dict[str, Any]) -> Splits:
    """Loads the data that the configuration names."""
    data = config["data"]
    if data["factory"]:
        return load_from_factory(data["factory"], data["options"])
    return load(
        data["name"],
        data_dir=data["data_dir"],
        holdout=data["holdout"],
        seed=config["seed"],
        download=data["download"],
        image_size=data["image_size"] or None,
        stream=data["stream"],
        scale=data.get("scale"),
        mean=data["mean"] or None,
        std=data["std"] or None,
        on_error=data.get("on_error") or "raise",
    )


def initial_model(config: dict[str, Any], data: Splits) -> keras.Model:
    """The network before training: built, or read from `config.model.base`.

    Raises:
        ValueError: If there is no such file, or the network does not fit the data.
    """
    if config["model"]["factory"]:
        return _from_factory(config)
    base = os.path.expanduser(config["model"]["base"])
    if base and base != APPLICATIONS and not os.path.isfile(base):
        raise ValueError(
            f"`config.model.base` must be a file, or {APPLICATIONS!r}. Received: {base!r}, which "
            "is missing"
        )
    if base and base != APPLICATIONS and not base.endswith((".keras", ".npz", ".h5")):
        raise ValueError(
            "`config.model.base` must end in .keras, in .npz for arrays of PyTorch, or in .h5 for "
            f"weights of keras.applications. Received: {base!r}"
        )
    if base.endswith(".keras"):
        try:
            model = models.load_keras(base, compile=data.classes is None)
        except ValueError as error:
            raise ValueError(f"`config.model.base`: {error}") from None
        trace(model)  # Refuses a subclassed model.
        if data.classes is None:
            return model
    else:
        model = builder(config)(
            data.input_shape, data.classes, seed=config["seed"], **config["model"]["options"]
        )
        if base.endswith(".npz"):
            models.load_pytorch_cifar_resnet(model, base)
        elif base:
            _load_imagenet_weights(model, config)
    shapes = [tuple(x.shape[1:]) for x in (*model.inputs, *model.outputs)]
    expected = [tuple(data.input_shape), (data.classes,)]
    if shapes != expected:
        raise ValueError(
            f"The network must map images {expected[0]} to {data.classes} classes, as the data "
            f"'{data.name}'. Received: {base or model.name} with shapes {shapes}"
        )
    return model


def _from_factory(config: dict[str, Any]) -> keras.Model:
    """What the function of `config.model.factory` builds, from the seed of the run."""
    name, options = config["model"]["factory"], config["model"]["options"]
    function, _ = load_function("`config.model.factory`", name)
    keras.utils.set_random_seed(config["seed"])  # of the layers' own initializers
    try:
        model = function(**options)
    except TypeError as error:
        raise ValueError(
            f"`config.model.factory` {name!r} cannot be called with config.model.options={options}:"
            f" {error}. {NO_OPTIONS}"
        ) from error
    if not isinstance(model, keras.Model) or not model.compiled:
        received = "a model that is not compiled" if isinstance(model, keras.Model) else model
        raise ValueError(
            f"`config.model.factory` {name!r} must return a keras.Model that is compiled with its "
            f"loss and metrics: they say what is trained and scored. Received: {received!r}"
        )
    trace(model)  # Refuses a subclassed model.
    return model


def _load_imagenet_weights(model: keras.Model, config: dict[str, Any]) -> None:
    """Loads weights of keras.applications, if the data is normalised as they expect."""
    base, name = os.path.expanduser(config["model"]["base"]), config["model"]["name"]
    for field, wanted in zip(("mean", "std"), imagenet_weights.normalisation(name), strict=True):
        found = config["data"][field]
        if not np.allclose(found or [0.0], wanted, atol=1e-4):
            raise ValueError(
                f"`config.data.{field}` must be {wanted} for the weights of keras.applications. "
                f"Received: {found}"
            )
    weights = "imagenet" if base == APPLICATIONS else base
    models.load_imagenet_weights(model, name, weights)


def budget(options: dict[str, Any]) -> Budget:
    """The budget of `config.search`; 0 MACs stand for any, where another cost is given."""
    targets = {name: _target(options.get(name)) for name in ("flops", "params", "activations")}
    latency = options["latency"]
    others = (latency, targets["params"], targets["activations"])
    if not targets["flops"] and any(value is not None for value in others):
        targets["flops"] = None
    return Budget(**targets, tolerance=options["tolerance"], latency=latency)


def space(
    graph: ChannelGraph, options: dict[str, Any], *, from_scratch: bool = False
) -> SearchSpace:
    """The search space of `config.search`; from scratch, ratios may be above 1."""
    return SearchSpace(
        graph,
        options["min_ratio"],
        options["max_ratio"],
        options["divisor"],
        options["fixed"],
        tied=options["tied"],
        from_scratch=from_scratch,
    )


def check_budget(
    config: dict[str, Any],
    space: SearchSpace,
    cost: CostModel,
    budget: Budget,
    latency: LatencyModel | None = None,
) -> None:
    """Draws all the candidates: refuses within seconds a budget that cannot be met."""
    sampler = RandomSampler(space, cost, budget, config["seed"], latency=latency)
    settle(sampler, config["search"]["max_trials"])


def remaining(
    options: dict[str, Any], graph: ChannelGraph, unpruned: ChannelGraph, *, last: bool
) -> dict[str, dict[str, float]]:
    """Ratios of `config.search` for a network that is pruned in part.

    Args:
        options: `config.search`, whose ratios are shares of the unpruned network's channels.
        graph: The trace of the network.
        unpruned: That of the unpruned one.
        last: Whether it is pruned for the last time; before, `max_ratio` does not bind.

    Returns:
        `min_ratio` and `max_ratio`, shares of the network's own channels by group.
    """
    full = {group.name: group.size for group in unpruned.prunable}
    ratios = {"min_ratio": options["min_ratio"], "max_ratio": options["max_ratio"] if last else 1.0}
    return {
        name: {
            group.name: min(1.0, ratio * full[group.name] / group.size) for group in graph.prunable
        }
        for name, ratio in ratios.items()
    }


def _target(number: float | None) -> float | int | None:
    """A budget from the configuration: whole numbers above 1 are absolute."""
    whole = number is not None and 1 < number < float("inf") and number == int(number)
    return int(number) if whole else number
