"""`channels.json`: how wide a pruned network is, what it costs and where it comes from.

A small text file for people and programs, from which the network can be built again: by its builder
with random weights, or out of the unpruned network with inherited ones. Its entries:

    version             1
    model               name and options of the builder in `tfrcp.models`, input_shape, classes
    channels            {group: kept channels}, in the order of the forward pass
    full                {group: channels of the unpruned network}
    flops, params, activations    of the pruned network, per image
    flops_ratio         of the unpruned network's MACs
    unpruned            flops, params and activations of the unpruned network
    score, objective    on the holdout images, before fine-tuning
    seed                of the run
    provenance          versions, data, criterion, update, trial and number of trials
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfrcp import criteria, files, models
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.inheritance import select, slice_model
from tfrcp.graph.trace import trace
from tfrcp.space.cost import CostModel

VERSION = 1
_MOST = 10**7  # channels of a group


def describe(
    graph: ChannelGraph, channels: np.ndarray, model: dict[str, Any], **more: Any
) -> dict[str, Any]:
    """What `channels.json` holds.

    Args:
        graph: The trace of the unpruned network.
        channels: int array [prunable groups].
        model: Its builder: `name`, `options`, `input_shape` and `classes`.
        **more: Further entries.
    """
    cost = CostModel(graph)
    pruned = {name: int(values[0]) for name, values in cost(channels)._asdict().items()}
    groups = list(zip(graph.prunable, np.asarray(channels).tolist(), strict=True))
    return {
        "version": VERSION,
        "model": model,
        "channels": {group.name: count for group, count in groups},
        "full": {group.name: group.size for group, _ in groups},
        **pruned,
        "flops_ratio": pruned["flops"] / cost.full.flops,
        "unpruned": cost.full._asdict(),
        **more,
    }


@dataclasses.dataclass(frozen=True)
class ArchitectureSpec:
    """The widths of a pruned network, read from `channels.json`.

    Attributes:
        content: All entries of the file.
        path: The file.
    """

    content: dict[str, Any]
    path: Path

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ArchitectureSpec:
        """Reads a file.

        Raises:
            FileNotFoundError: If it is missing.
            ValueError: If it is no such file, or of a later version.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {path}")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            channels = content["channels"]
            sound = all(type(n) is int and 0 < n < _MOST for n in channels.values()) and channels
            model = content.get("model") or {}
            sound = sound and isinstance(model, dict) and isinstance(model.get("name", ""), str)
            version = content["version"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            sound, version = False, VERSION
        if not sound:
            raise ValueError(f"{path} is no channels.json: it must map groups to channel counts")
        if version != VERSION:
            found = str(version)[:40]
            raise ValueError(f"{path} is of version {found}; this tfrcp reads version {VERSION}")
        return cls(content, path)

    def build(self) -> keras.Model:
        """The network by its builder, with random weights.

        Raises:
            ValueError: If the file does not say which builder, or the builder makes other groups.
        """
        model = self.content.get("model") or {}
        name, shape = model.get("name"), model.get("input_shape")
        if not name or not shape:
            raise ValueError(
                f"{self.path} names no builder of tfrcp.models and its input shape, so the "
                f"unpruned network is needed beside it. Received: model={model}"
            )
        models.full_channels(name)  # Refuses an unknown name.
        options, widths = model.get("options") or {}, list(self.content["channels"].values())

        def made(**channels: list[int]) -> keras.Model:
            try:
                return getattr(models, name)(
                    tuple(shape), model.get("classes"), **options, **channels
                )
            except Exception as error:  # whatever a builder does with what it is not made for
                text = " ".join(str(error).split())[:200]
                raise ValueError(
                    f"{self.path} holds a network that `tfrcp.models.{name}` cannot build: {text}"
                ) from None

        whole = trace(made())
        self._check(whole, wider=True)
        size = 4 * float(CostModel(whole)(np.array(widths)).params[0])
        if not 0 <= size < files.memory() / 2:
            raise ValueError(f"{self.path} holds a network that does not fit into the memory.")
        return made(channels=widths)

    def prune(self, model: keras.Model) -> keras.Model:
        """The network out of the unpruned one, with the channels of the largest L1 norms.

        Raises:
            ValueError: If the model has other groups.
        """
        graph = trace(model)
        scores = criteria.get("l1")(model, graph)
        return slice_model(model, graph, select(graph, scores, self._columns(graph)))

    def save(self, model: keras.Model, path: str | os.PathLike[str]) -> None:
        """Saves a network as a .keras file that is whole, or not there.

        Raises:
            ValueError: If the name does not end in .keras, or its folder is missing.
        """
        path = Path(path)
        if path.suffix != ".keras" or not path.parent.is_dir():
            raise ValueError(f"A network is saved as FILE.keras in a folder. Received: {path}")
        files.save_model(path, model)

    def _check(self, graph: ChannelGraph, *, wider: bool) -> None:
        """Refuses a network of other groups, or of groups that are not wide enough to be pruned."""
        channels = self.content["channels"]
        sizes = {group.name: group.size for group in graph.prunable}
        wrong = [n for n in sizes if not 0 < channels.get(n, 0) <= (sizes[n], math.inf)[wider]]
        wrong += [n for n in channels if n not in sizes]
        if not wrong and list(sizes) != list(channels):
            wrong = ["the order of the groups"]
        if wrong:
            raise ValueError(
                f"{self.path} does not fit the network '{graph.name}': it has other groups, "
                f"'{wrong[0]}' for one"
            )

    def _columns(self, graph: ChannelGraph) -> np.ndarray:
        """The channel vector for a network to be pruned, int array [prunable groups]."""
        self._check(graph, wider=False)
        return np.array(list(self.content["channels"].values()))
