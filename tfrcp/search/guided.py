"""The guided search: it begins where allocations by several criteria lie, and ends when it can."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfrcp import criteria
from tfrcp.allocation.starts import starting_points
from tfrcp.arguments import check_int
from tfrcp.search import inputs
from tfrcp.search.oracles import GuidedChannelOracle
from tfrcp.search.stored_scores import Scores, load_or_compute
from tfrcp.search.tuner import ChannelSearch
from tfrcp.search.winner import Winner, choose_winner

_RANKINGS = (
    "taylor:images=256",
    "l1",
)  # criteria whose rankings are tried first: the first that applies


class GuidedChannelSearch(ChannelSearch):
    """The search that is best known: allocations first, then moves around the best of them.

    Its first trials are the allocations that cost nothing: uniform widths, and global rankings by
    Taylor scores (or else by the L1 norm) and by the criterion, of all groups and of the inner
    ones. The others are moves around the best so far. It ends when `patience` moves in a row have
    gained nothing. A few trials that differ, the best and the first among them, are reconstructed
    layer by layer, and the best of these wins: it comes first in `get_best_models` and
    `get_best_channels`. By its score on the holdout images it is never worse than any trial.

    Arguments as for `ChannelSearch`, but for these defaults; and further ones:

    Args:
        criterion: "auto" stands for `optimal_brain_surgeon` where images and a loss allow it, else
            for `taylor`, else for `l1`.
        finalists: How many candidates are reconstructed layer by layer.
        winner_images: Number of training images for that.
        **options: Further arguments of `ChannelSearch`, and `patience`, the number of moves in a
            row without a better score that end the search.

    Attributes:
        winner: What `search` came to, a `Winner`; `None` before, and in workers.
    """

    oracle_class = GuidedChannelOracle

    def __init__(
        self,
        model: keras.Model,
        flops: float | int | None = None,
        criterion: Any = "auto",
        *args: Any,
        finalists: int = 3,
        winner_images: int = 512,
        **options: Any,
    ) -> None:
        check_int("finalists", finalists, 1)
        check_int("winner_images", winner_images, 2)
        super().__init__(model, flops, criterion, *args, **options)
        self.finalists, self.winner_images = finalists, winner_images
        self.winner: Winner | None = None

    def search(self, x: Any, y: Any = None, *, validation_data: Any, verbose: bool = True) -> None:
        """Scores the candidates and chooses the winner; see `ChannelSearch.search`."""
        self.winner = None
        super().search(x, y, validation_data=validation_data, verbose=verbose)
        if self.role != "worker":
            images = None
            if self.reconstruction == "least_squares":
                data = x if y is None else (x, y)
                count = self.winner_images
                images = inputs.read("x", data, self.model, count=count, targets=False).x
            self.winner = choose_winner(self, images, verbose=verbose)

    def _begin(self, data: Any, verbose: bool) -> None:
        """Tells the oracle where to begin; a worker takes what the chief hands out."""
        if self.role == "worker" or self.store.finished:
            return
        starts = starting_points(
            self.graph,
            self._scores_of_several(data),
            self.space,
            self.cost,
            self.store.sampler.budget,
            latency=self.store.sampler.latency,
        )
        self.store.start_from(np.array([*starts.values()]))
        if verbose:
            print(f"search: begins with {len(starts)} allocations: {'; '.join(starts)}", flush=True)

    def _scores_of_several(self, data: Any) -> dict[str, Scores]:
        """Scores by which all groups are ranked: Taylor's, the search's own, or else the L1 norm's.

        Those of the search's own criterion are left out where they only tell channels of a group
        apart; Taylor's where the model or its data do not allow them.
        """
        own = self.channel_scores(data)
        identity = inputs.identity(self.criterion)
        name = identity["class_name"] if isinstance(identity, dict) else str(identity)
        found = {name: own} if getattr(self.criterion, "ranks_groups", True) else {}
        for ranking in _RANKINGS:
            other, criterion = ranking.partition(":")[0], criteria.get(ranking)
            if other in found:
                return found
            key = {"criterion": inputs.identity(criterion), "model": self.scorer.settings["model"]}
            file = Path(self.project_dir) / f"scores_{other}.npz"
            with contextlib.suppress(ValueError, TypeError, KeyError):  # no labels, or no loss
                found[other] = load_or_compute(
                    file, key, lambda c=criterion: c(self.model, self.graph, data)
                )
                return found
        return found

    def _best(self, count: int) -> list[Any]:
        trials = super()._best(max(count, 1) if self.winner is None else self.store.max_trials)
        if self.winner is None:
            return trials
        rest = [trial for trial in trials if trial.trial_id != self.winner.trial.trial_id]
        return [self.winner.trial, *rest][:count]

    def load_model(self, trial: Any) -> keras.Model:
        """The pruned model of a trial as it was scored; the winner's as it was reconstructed."""
        if self.winner is None or trial.trial_id != self.winner.trial.trial_id:
            return super().load_model(trial)
        model = keras.models.clone_model(self.winner.model)
        model.set_weights(self.winner.model.get_weights())
        return model
