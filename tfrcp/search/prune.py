"""One call: search, inherit and reconstruct, without any training."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from tfrcp.search import inputs
from tfrcp.search.guided import GuidedChannelSearch
from tfrcp.search.tradeoff import Tradeoff, prune_within, tradeoff_of
from tfrcp.search.tuner import ChannelSearch
from tfrcp.search.variants import (
    EvolutionaryChannelSearch,
    RandomChannelSearch,
    SurrogateChannelSearch,
)
from tfrcp.search.winner import winner_of

SEARCHES: dict[str, type[ChannelSearch]] = {
    "guided": GuidedChannelSearch,
    "random": RandomChannelSearch,
    "evolutionary": EvolutionaryChannelSearch,
    "surrogate": SurrogateChannelSearch,
}
"""The searches by name."""


@contextlib.contextmanager
def folder_of(directory: str | None) -> Iterator[str]:
    """The folder of a search; a temporary one is removed when all went well, and else named."""
    if directory is not None:
        yield directory
        return
    temporary = tempfile.mkdtemp(prefix="tfrcp_")
    try:
        yield temporary
    except BaseException as error:
        if any(Path(temporary).glob("*/trial_*")):
            error.add_note(
                f"The trials so far are kept in {temporary}: directory={temporary!r} resumes there."
            )
        else:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(temporary, ignore_errors=True)


def prune(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    validation_data: Any = None,
    flops: float | int | None = None,
    search: str | type[ChannelSearch] = "guided",
    max_drop: float | None = None,
    directory: str | None = None,
    verbose: bool = True,
    **options: Any,
) -> keras.Model:
    """Prunes a trained model: searches, inherits and reconstructs the weights; trains nothing.

    Args:
        model: A built, trained Functional or Sequential `keras.Model`. It is not changed.
        x: Training data, for calibration: a batched `tf.data.Dataset`, a tuple of arrays (x, y), x
            alone, or a `PyDataset`.
        y: Labels, where `x` is an array.
        validation_data: Holdout data, likewise, with labels where the objective needs them;
            disjoint from the training data. Defaults to a fifth of `x`, chosen at random by the
            seed, which is said.
        flops: Target of the multiply-adds: a float in (0, 1] is a share of the unpruned network's,
            an int is absolute. Defaults to 0.5 where no other cost is given.
        search: "guided", "random" (the paper's plain baseline), "evolutionary", "surrogate", or a
            class such as `GuidedChannelSearch`.
        max_drop: Instead of a cost: the cheapest network is looked for whose score on the holdout
            images, before any fine-tuning, falls by no more than this (0.01 of an accuracy is one
            percentage point). Takes five searches.
        directory: Folder in which the search is kept, so that it can go on after an interruption.
            Defaults to a temporary one, which is left behind only after an error.
        verbose: Whether to show progress.
        **options: Further arguments of that class.

    Returns:
        The best candidate, reconstructed once more (`tfrcp.search.winner`), a plain `keras.Model`.
        Fine-tune it next.

    Raises:
        ValueError: As the search and its `search`.
    """
    kind = search_class(search)
    if validation_data is None:
        seed = options.get("seed", 0)
        (x, validation_data), y = inputs.hold_out(x, y, seed, verbose=verbose), None
    if max_drop is not None:
        options["flops"] = flops
        return prune_within(
            kind,
            model,
            x,
            y,
            validation_data=validation_data,
            max_drop=max_drop,
            directory=directory,
            verbose=verbose,
            options=options,
        )
    with folder_of(directory) as folder:
        tuner = kind(model, flops, directory=folder, project_name="search", **options)
        tuner.search(x, y, validation_data=validation_data, verbose=verbose)
        return winner_of(tuner, verbose=verbose).model


def tradeoff(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    validation_data: Any,
    flops: Sequence[float] = (0.75, 0.5, 0.25),
    search: str | type[ChannelSearch] = "guided",
    directory: str | None = None,
    verbose: bool = True,
    **options: Any,
) -> Tradeoff:
    """Prunes to several costs, to see what each is worth; arguments as for `prune`.

    Args:
        model: See `prune`.
        x: See `prune`.
        y: See `prune`.
        validation_data: See `prune`.
        flops: Shares of the multiply-adds, floats in (0, 1).
        search: See `prune`.
        directory: See `prune`.
        verbose: See `prune`.
        **options: See `prune`.

    Returns:
        `Tradeoff`: the unpruned network and one for each cost. It prints as a table, has `plot`,
        and holds the pruned models.

    Raises:
        ValueError: As `prune`.
    """
    return tradeoff_of(
        search_class(search),
        model,
        x,
        y,
        validation_data=validation_data,
        flops=flops,
        directory=directory,
        verbose=verbose,
        options=options,
    )


def search_class(search: str | type[ChannelSearch]) -> type[ChannelSearch]:
    """The class of a search that is given by its name or as it is."""
    kind = SEARCHES.get(search) if isinstance(search, str) else search
    if not (isinstance(kind, type) and issubclass(kind, ChannelSearch)):
        raise ValueError(
            f"`search` must be one of {list(SEARCHES)}, or a subclass of ChannelSearch. "
            f"Received: {search!r}"
        )
    return kind
