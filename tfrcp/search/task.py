"""What is searched: the trace, space, cost and budget, given whole or by their arguments."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.trace import trace
from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.sampling import Sampler
from tfrcp.space.space import SearchSpace

# Arguments that stand for a whole object, with their defaults.
BUDGET = {
    "flops": None,
    "params": None,
    "activations": None,
    "latency": None,
    "tolerance": 0.005,
}
SPACE = {"min_ratio": 0.1, "max_ratio": 1.0, "divisor": 1, "fixed": (), "tied": ()}


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """What a search chooses from.

    Attributes:
        graph: The trace of the model.
        cost: The cost model of that graph.
        space: The allowed channel counts.
        budget: What a pruned network may cost.
        sampler: What proposes candidates, if the user gave one.
    """

    graph: ChannelGraph
    cost: CostModel
    space: SearchSpace
    budget: Budget
    sampler: Sampler | None = None

    @classmethod
    def of(
        cls,
        model: keras.Model,
        arguments: Mapping[str, Any],
        budget: Budget | None = None,
        space: SearchSpace | None = None,
        sampler: Sampler | None = None,
    ) -> Task:
        """The task that a search's arguments describe.

        Args:
            model: The model.
            arguments: Maps the names in `BUDGET` and `SPACE` to values.
            budget: Instead of the former.
            space: Instead of the latter.
            sampler: Instead of all.

        Raises:
            ValueError: If something is given twice, is of another kind or of another model, or
                nothing can be pruned.
        """
        for name, value, kind in (
            ("budget", budget, Budget),
            ("space", space, SearchSpace),
            ("sampler", sampler, Sampler),
        ):
            if value is not None and not isinstance(value, kind):
                raise ValueError(f"`{name}` must be a {kind.__name__}. Received: {value!r}")
        if sampler is not None:
            for name, value in (("budget", budget), ("space", space)):
                if value is not None:
                    raise ValueError(f"`sampler` has a {name}: give one of the two. Received both.")
            budget, space = sampler.budget, sampler.space
        for name, value, defaults in (("budget", budget, BUDGET), ("space", space, SPACE)):
            twice = [key for key in defaults if not _equal(arguments[key], defaults[key])]
            if value is not None and twice:
                whole = "sampler" if sampler is not None else name
                raise ValueError(
                    f"`{twice[0]}` is part of `{whole}`: give one of the two. "
                    f"Received: {twice[0]}={arguments[twice[0]]!r} and a {type(value).__name__}"
                )
        graph = trace(model)
        if space is None:
            space = SearchSpace(graph, **{key: arguments[key] for key in SPACE})
        elif _sizes(space.graph) != _sizes(graph):
            raise ValueError(
                "`space` must be of a trace of the model that is pruned, without other prunable "
                f"groups. Received one of '{space.graph.name}' for the model '{model.name}'"
            )
        if budget is None:
            budget = Budget(**{key: arguments[key] for key in BUDGET})
        cost = CostModel(space.graph) if sampler is None else sampler.cost
        return cls(space.graph, cost, space, budget, sampler)


def _equal(value: Any, default: Any) -> bool:
    if isinstance(default, tuple):
        return isinstance(value, list | tuple) and not len(value)
    return value is default or (type(value) in (int, float) and value == default)


def _sizes(graph: ChannelGraph) -> list[tuple[str, int]]:
    return [(group.name, group.size) for group in graph.prunable]
