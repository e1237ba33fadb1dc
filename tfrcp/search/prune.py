"""One call: search, inherit and reconstruct, without any training."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras

from tfrcp.data import IN_MEMORY
from tfrcp.scoring.comparison import compare
from tfrcp.search import inputs
from tfrcp.search.folder import folder_of
from tfrcp.search.guided import GuidedChannelSearch
from tfrcp.search.options import check_options, given, parameters_of
from tfrcp.search.tradeoff import Tradeoff, prune_within, tradeoff_of
from tfrcp.search.tuner import ChannelSearch
from tfrcp.search.variants import (
    EvolutionaryChannelSearch,
    RandomChannelSearch,
    SurrogateChannelSearch,
)
from tfrcp.search.winner import winner_of
from tfrcp.space.budget import Budget
from tfrcp.space.sampling import Sampler
from tfrcp.space.space import SearchSpace

if TYPE_CHECKING:
    from tfrcp.deployment.latency_model import LatencyModel

SEARCHES: dict[str, type[ChannelSearch]] = {
    "guided": GuidedChannelSearch,
    "random": RandomChannelSearch,
    "evolutionary": EvolutionaryChannelSearch,
    "surrogate": SurrogateChannelSearch,
}
"""The searches by name."""


_OPTIONS = (
    *("params", "activations", "latency", "latency_model", "tolerance"),
    *("min_ratio", "max_ratio", "divisor", "fixed", "tied", "budget", "space", "sampler"),
    *("objective", "max_trials", "seed", "reconstruction", "calibration_images"),
    *("batch_norm_images", "racing", "batch_size", "memory_limit", "log_dir", "overwrite"),
    *("finalists", "winner_images", "patience", "random_first"),
    *("population", "tournament", "crossover"),
)
"""Arguments of `prune` that are handed to the search where they differ from their defaults."""


def prune(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    validation_data: Any = None,
    flops: float | int | None = None,
    params: float | int | None = None,
    activations: float | int | None = None,
    latency: float | None = None,
    latency_model: LatencyModel | None = None,
    tolerance: float = 0.005,
    min_ratio: float | Mapping[str, float] = 0.1,
    max_ratio: float | Mapping[str, float] = 1.0,
    divisor: int | Mapping[str, int] = 1,
    fixed: Sequence[Any] = (),
    tied: Sequence[str | Sequence[str]] = (),
    budget: Budget | None = None,
    space: SearchSpace | None = None,
    sampler: Sampler | None = None,
    objective: Any = "auto",
    criterion: Any = "auto",
    search: str | type[ChannelSearch] = "guided",
    max_trials: int | None = None,
    max_drop: float | None = None,
    seed: int = 0,
    reconstruction: str = "least_squares",
    calibration_images: int = 256,
    batch_norm_images: int | None = None,
    racing: bool = True,
    batch_size: int = 250,
    memory_limit: int = IN_MEMORY,
    finalists: int | None = None,
    winner_images: int | None = None,
    patience: int | None = None,
    random_first: int | None = None,
    population: int | None = None,
    tournament: int | None = None,
    crossover: float | None = None,
    directory: str | None = None,
    overwrite: bool = False,
    log_dir: str | None = None,
    verbose: bool = True,
    **options: Any,
) -> keras.Model:
    """Prunes a trained model: searches, inherits and reconstructs the weights; trains nothing.

    It ends with what was gained and lost, before any fine-tuning; see `tfrcp.compare`.

    Args:
        model: A built, trained Functional or Sequential `keras.Model`. It is not changed.
        x: Training data, for calibration: a batched `tf.data.Dataset`, a tuple of arrays (x, y), x
            alone, or a `PyDataset`.
        y: Labels, where `x` is an array.
        validation_data: Holdout data, likewise, with labels where the objective needs them;
            disjoint from the training data. Defaults to a fifth of `x`, chosen at random by the
            seed, which is said.
        flops: Target of the MACs: a float in (0, 1] is a share of the unpruned network's,
            an int is absolute. Defaults to 0.5 where no other cost is given.
        params: Upper bound of the number of weights, in the units of `flops`; the target where it
            is given alone.
        activations: Upper bound of the number of activations, likewise.
        latency: Time per image as a share of the unpruned network's: an upper bound beside `flops`,
            the target without. The closing table then holds the measured time.
        latency_model: `tfrcp.LatencyModel` of the model, needed for that; ten networks near the
            budget are timed to set it right there.
        tolerance: How far from the target the result may be, as a share of the unpruned cost.
        min_ratio: Least share of its channels that a group keeps; or a dict from names or patterns
            of groups.
        max_ratio: Largest share, likewise.
        divisor: Channel counts are multiples of it, likewise.
        fixed: Groups, layers, or names or patterns of them, to leave alone.
        tied: Groups that keep the same share of their channels; see `tfrcp.SearchSpace`.
        budget: A `tfrcp.Budget` instead of `flops`, `params`, `latency` and `tolerance`.
        space: A `tfrcp.SearchSpace` instead of the ratios, `divisor`, `fixed` and `tied`.
        sampler: A new `tfrcp.search.Sampler` that proposes the candidates, instead of all these.
        objective: What candidates are scored by: "auto", "val_loss", "val_NAME", "agreement", a
            `keras_tuner.Objective`, a `keras.metrics.Metric`, or a function (y, outputs) -> [n].
        criterion: Which channels of a layer stay; see `tfrcp.criteria.get`. "auto" is
            `optimal_brain_surgeon` where images and a loss allow it, else `taylor`, else `l1`.
        search: "guided", "random" (the paper's plain baseline), "evolutionary", "surrogate", or a
            class such as `GuidedChannelSearch`.
        max_trials: Most candidates. Defaults to 100.
        max_drop: Instead of a cost: the cheapest network is looked for whose score on the holdout
            images, before any fine-tuning, falls by no more than this (0.01 of an accuracy is one
            percentage point). Takes five searches.
        seed: Int; 0 is a seed.
        reconstruction: How weights are reconstructed: "least_squares", "batch_norm" or "none".
        calibration_images: Number of training images for that.
        batch_norm_images: How many of these re-estimate the batch norms of a candidate. Defaults to
            128, of large images to fewer; see `ChannelSearch`.
        racing: Whether a candidate that is surely worse than the best is stopped early.
        batch_size: Holdout images in a forward pass.
        memory_limit: Bytes of holdout images that are held in memory. Images of a data set that are
            more are written once to a file in the folder of temporary files (`TMPDIR`).
        finalists: Of the guided search: how many candidates are reconstructed layer by layer.
        winner_images: Of the guided search: number of training images for that.
        patience: Of the guided search: moves without a gain that end it.
        random_first: Of the guided and the surrogate search: see their samplers.
        population: Of the evolutionary search, as the next two.
        tournament: See `tfrcp.EvolutionaryChannelOracle`.
        crossover: See there.
        directory: Folder in which the search is kept, so that it can go on after an interruption.
            Defaults to a temporary one, which is left behind, and named, only after an error.
        overwrite: Whether to start anew where `directory` holds a search.
        log_dir: Folder for TensorBoard.
        verbose: Whether to show progress, and at the end what was gained and lost.
        **options: Arguments of a search of your own, where `search` is its class.

    Returns:
        The best candidate, reconstructed once more (`tfrcp.search.winner`), a plain `keras.Model`.
        Fine-tune it next.

    Raises:
        ValueError: If the model, the data or a value is wrong, with what would do.
        TypeError: If there is no such option, with the nearest one.
    """
    arguments = locals()
    kind = search_class(search)
    options |= given(arguments, prune, _OPTIONS)
    check_options("tfrcp.prune", options, kind, SEARCHES, parameters_of(prune))
    options["criterion"] = criterion
    if validation_data is None:
        (x, validation_data), y = (
            inputs.hold_out(x, y, seed, memory=memory_limit, verbose=verbose),
            None,
        )
    with folder_of(directory) as folder:
        if max_drop is not None:
            pruned, goal = prune_within(
                kind,
                model,
                x,
                y,
                validation_data=validation_data,
                max_drop=max_drop,
                directory=folder,
                verbose=verbose,
                options=options | {"flops": flops},
            )
        else:
            tuner = kind(model, flops, directory=folder, project_name="search", **options)
            tuner.refuses_guessing = "rescaling"
            tuner.search(x, y, validation_data=validation_data, verbose=verbose)
            pruned, goal = winner_of(tuner, verbose=verbose).model, tuner.objective
    if verbose:
        _show_gain(model, pruned, validation_data, goal, latency=latency is not None)
    return pruned


def _show_gain(
    model: keras.Model, pruned: keras.Model, data: Any, objective: Any, *, latency: bool
) -> None:
    """Prints what was gained and lost; the pruned network is never lost for it."""
    try:
        found = compare(
            model, pruned, data, objective=objective, latency=latency, images="holdout data"
        )
    except Exception as error:  # such as data that can be read only once
        warnings.warn(f"prune: the networks cannot be compared: {error}", stacklevel=3)
        return
    print(f"\nBefore fine-tuning: {found}", flush=True)


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
        flops: Shares of the MACs, floats in (0, 1).
        **options: Further arguments of `prune`.

    Returns:
        `Tradeoff`: the unpruned network and one for each cost. It prints as a table, has `plot`,
        and holds the pruned models.

    Raises:
        ValueError: As `prune`.
    """
    kind = search_class(search)
    check_options("tfrcp.tradeoff", options, kind, SEARCHES, parameters_of(tradeoff))
    with folder_of(directory) as folder:
        return tradeoff_of(
            kind,
            model,
            x,
            y,
            validation_data=validation_data,
            flops=flops,
            directory=folder,
            verbose=verbose,
            options={"criterion": "auto"} | options,
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
