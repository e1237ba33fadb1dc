"""Criteria: which channels of a group are kept. One per file, over a small base."""

from __future__ import annotations

import contextlib
from typing import Any

from tfrcp.criteria.automatic import Automatic
from tfrcp.criteria.base import CoupledCriterion, Criterion, WeightCriterion
from tfrcp.criteria.batch_norm_scale import BatchNormScale
from tfrcp.criteria.empirical_sensitivity import EmpiricalSensitivity
from tfrcp.criteria.geometric_median import GeometricMedian
from tfrcp.criteria.group_lasso import GroupLasso
from tfrcp.criteria.index import Index
from tfrcp.criteria.kl_divergence import KLDivergence
from tfrcp.criteria.norm import L1, L2
from tfrcp.criteria.optimal_brain_surgeon import OptimalBrainSurgeon
from tfrcp.criteria.random import Random
from tfrcp.criteria.taylor import Taylor

__all__ = [
    "CRITERIA",
    "L1",
    "L2",
    "Automatic",
    "BatchNormScale",
    "CoupledCriterion",
    "Criterion",
    "EmpiricalSensitivity",
    "GeometricMedian",
    "GroupLasso",
    "Index",
    "KLDivergence",
    "OptimalBrainSurgeon",
    "Random",
    "Taylor",
    "WeightCriterion",
    "deserialize",
    "get",
    "serialize",
]

CRITERIA: dict[str, type[Criterion]] = {
    "auto": Automatic,
    "batch_norm_scale": BatchNormScale,
    "empirical_sensitivity": EmpiricalSensitivity,
    "geometric_median": GeometricMedian,
    "group_lasso": GroupLasso,
    "index": Index,
    "kl_divergence": KLDivergence,
    "l1": L1,
    "l2": L2,
    "optimal_brain_surgeon": OptimalBrainSurgeon,
    "random": Random,
    "taylor": Taylor,
}
"""The criteria by name."""


def get(identifier: str | dict[str, Any] | Criterion) -> Criterion:
    """A criterion by name, by config, or as it is.

    Args:
        identifier: A name ("auto", "batch_norm_scale", "empirical_sensitivity", "geometric_median",
            "group_lasso", "index", "kl_divergence", "l1", "l2", "optimal_brain_surgeon", "random",
            "taylor"), perhaps with arguments, as in "l2:scope=group:normalize=false"; a dict as
            `serialize` returns it; or a callable with the signature of `Criterion`.

    Raises:
        ValueError: If the name is unknown, or the arguments do not fit.
    """
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if isinstance(identifier, str) and identifier.partition(":")[0] in CRITERIA:
        name, *options = identifier.split(":")
        return deserialize({"class_name": name, "config": dict(map(_option, options))})
    if callable(identifier) and not isinstance(identifier, type):
        return identifier
    raise ValueError(
        f"`criterion` must be one of {sorted(CRITERIA)}, a config dict or a criterion. "
        f"Received: {identifier!r}"
    )


def _option(text: str) -> tuple[str, Any]:
    """An argument as in "normalize=false": its name, and its value; what is no number is text."""
    name, _, value = text.partition("=")
    words = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return name, words[value.lower()]
    for number in (int, float):
        with contextlib.suppress(ValueError):
            return name, number(value)
    return name, value


def serialize(criterion: Criterion) -> dict[str, Any]:
    """A criterion of this package as a dict {"class_name", "config"} that JSON can hold.

    Raises:
        ValueError: If it is of another class.
    """
    for name, kind in CRITERIA.items():
        if type(criterion) is kind:
            return {"class_name": name, "config": criterion.get_config()}
    raise ValueError(
        f"Only the criteria {sorted(CRITERIA)} can be serialized. Received: {criterion!r}"
    )


def deserialize(config: dict[str, Any]) -> Criterion:
    """The criterion that `serialize` described.

    Raises:
        ValueError: If the name is unknown or the arguments do not fit.
    """
    kind = CRITERIA.get(config.get("class_name"))
    if kind is None:
        raise ValueError(f"`class_name` must be one of {sorted(CRITERIA)}. Received: {config}")
    try:
        return kind.from_config(config.get("config", {}))
    except TypeError as error:
        raise ValueError(
            f"The config of criterion '{config['class_name']}' does not fit: {error}"
        ) from None
