"""Samplers, what they are asked for, and what they may answer, by trying every channel vector."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tfrcp import Budget
from tfrcp.search import (
    EvolutionarySampler,
    GuidedSampler,
    RandomSampler,
    RejectionSampler,
    SpreadSampler,
    SurrogateSampler,
)

ADAPTIVE = [EvolutionarySampler, SurrogateSampler, GuidedSampler]
UNIFORM = [RandomSampler, RejectionSampler]
every_sampler = pytest.mark.parametrize("sampler", [*UNIFORM, SpreadSampler, *ADAPTIVE])
every_uniform_sampler = pytest.mark.parametrize("sampler", UNIFORM)
every_adaptive_sampler = pytest.mark.parametrize("sampler", ADAPTIVE)

CASES = {
    "half": ({}, Budget(0.5, tolerance=0.05)),
    "a tenth": ({}, Budget(0.1, tolerance=0.02)),
    "nine tenths": ({}, Budget(0.9, tolerance=0.05)),
    "absolute": ({}, Budget(10_000, tolerance=0.05)),
    "few activations": ({}, Budget(0.5, activations=0.55, tolerance=0.1)),
    "tied": ({"tied": [("unit0*", "unit2*")]}, Budget(0.5, tolerance=0.1)),
    "all tied": ({"tied": ["*"]}, Budget(0.5, tolerance=0.2)),
    "wider": ({"max_ratio": 1.5, "from_scratch": True}, Budget(1.0, tolerance=0.05)),
    "few weights": ({}, Budget(0.5, params=0.45, tolerance=0.1)),
    "absolute weights": ({}, Budget(0.5, params=900, tolerance=0.1)),
    "weights alone": ({}, Budget(1.0, params=0.3, tolerance=0.99)),
    "divisor": ({"divisor": 2}, Budget(0.5, tolerance=0.1)),
    "fixed": ({"fixed": ("unit1_conv",)}, Budget(0.5, tolerance=0.1)),
    "ratios": ({"min_ratio": 0.3, "max_ratio": 0.8}, Budget(0.3, tolerance=0.05)),
    # Windows that reach beyond what the space does.
    "from the smallest": ({}, Budget(0.05, tolerance=0.1)),
    "mostly below the smallest": ({}, Budget(0.03, tolerance=0.04)),
    "to the largest": ({}, Budget(1.0, tolerance=0.1)),
    "the smallest alone": ({}, Budget(0.02, tolerance=0.02)),
    "the largest alone": ({}, Budget(1.0, tolerance=0.0)),
    "everything": ({}, Budget(1.0, tolerance=0.99)),
}
every_case = pytest.mark.parametrize("case", CASES)


def feasible(space, cost, budget):
    """All channel vectors that the space allows and the budget accepts, by trying every one."""
    vectors = np.array([list_of(space, picks) for picks in itertools.product(*options(space))])
    return vectors[meets(vectors, cost, budget)]


def options(space):
    return [range(len(block.options)) for block in space.blocks]


def list_of(space, picks):
    vector = np.zeros(len(space.choices), dtype="int64")
    for block, pick in zip(space.blocks, picks, strict=True):
        vector[block.columns] = block.options[pick]
    return vector


def meets(vectors, cost, budget):
    """The budget as its docstring tells it."""
    costs, full = cost(vectors), cost.full
    target = budget.flops * full.flops if isinstance(budget.flops, float) else budget.flops
    fits = np.abs(costs.flops - target) <= budget.tolerance * full.flops + 1e-6
    if budget.params is not None:
        limit = budget.params * full.params if isinstance(budget.params, float) else budget.params
        fits &= costs.params <= limit
    if budget.activations is not None:
        fits &= costs.activations <= budget.activations * full.activations
    return fits


def reachable(space, cost):
    ends = cost(np.stack([space.smallest, space.largest])).flops
    return f"The space reaches {ends[0]:,} to {ends[1]:,} MACs"


def as_set(vectors):
    return {tuple(vector) for vector in vectors.tolist()}
