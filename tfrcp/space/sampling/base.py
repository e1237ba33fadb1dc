"""What all samplers do: they check their arguments, and never suggest a vector twice."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfrcp.arguments import check_int
from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel
from tfrcp.space.sampling.bounds import Bounds
from tfrcp.space.space import SearchSpace

if TYPE_CHECKING:
    from tfrcp.deployment.latency_model import LatencyModel


class Exhausted(ValueError):
    """No further channel vector was found that meets the budget."""


@dataclasses.dataclass(eq=False, repr=False)
class Sampler:
    """Suggests channel vectors that the space allows and the budget accepts, none of them twice.

    A suggestion depends on the arguments, on which vectors were suggested before and on the scores
    that are known, not on how many are asked for at a time. Subclasses implement `propose`.

    Attributes:
        space: The allowed channel counts.
        cost: The cost model of the same graph.
        budget: The budget.
        seed: Int; 0 is a seed.
        latency: `tfrcp.LatencyModel` of the same graph, needed where the budget bounds the latency.
        adaptive: Whether suggestions depend on the scores.
        options: Names of further attributes that suggestions depend on.
        bounds: What the budget asks of the costs, a `Bounds`.

    Raises:
        ValueError: If the budget cannot be met by any vector of the space, or an argument is wrong.
    """

    space: SearchSpace
    cost: CostModel
    budget: Budget
    seed: int = 0
    _: dataclasses.KW_ONLY
    latency: LatencyModel | None = None

    adaptive: ClassVar[bool] = False
    options: ClassVar[tuple[str, ...]] = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Sampler:
        """Notes the arguments, for `again`."""
        sampler = super().__new__(cls)
        sampler._arguments = args, kwargs
        return sampler

    def __post_init__(self) -> None:
        self.seed = check_int("seed", self.seed, 0)
        self.bounds = Bounds(self.space, self.cost, self.budget, self.latency)
        self._ready: deque[np.ndarray] = deque()
        self._known: dict[bytes, int] = {}  # indices in the order of the suggestions
        self._vectors: list[np.ndarray] = []
        self._scores: dict[int, float] = {}

    def suggest(self, count: int) -> np.ndarray:
        """The next channel vectors, none of which was suggested before.

        Returns:
            int64 array [count, prunable groups].

        Raises:
            Exhausted: If so many distinct vectors that meet the budget could not be found; those
                that were stay to be suggested.
            ValueError: If `count` is no such number.
        """
        check_int("count", count, 0)
        while len(self._ready) < count:
            vector = self.propose()
            self._add(vector)
            self._ready.append(vector)
        vectors = [self._ready.popleft() for _ in range(count)]
        return np.array(vectors, dtype="int64").reshape(count, len(self.space.choices))

    def suggest_up_to(self, count: int) -> np.ndarray:
        """The next channel vectors, fewer than asked for if there are no more."""
        try:
            return self.suggest(count)
        except Exhausted:
            return self.suggest(len(self._ready))

    def again(self, budget: Budget | None = None, **options: Any) -> Sampler:
        """A new sampler with the same arguments, but perhaps another budget or other options."""
        (*args,), kwargs = self._arguments
        if budget is not None and len(args) > 2:
            args[2] = budget
        elif budget is not None:
            options["budget"] = budget
        return type(self)(*args, **{**kwargs, **options})

    @property
    def converged(self) -> bool:
        """Whether nothing better is expected from further suggestions."""
        return False

    def take(self, channels: np.ndarray) -> None:
        """Counts vectors as suggested, as an interrupted search did before.

        Args:
            channels: int array [N, prunable groups].
        """
        for vector in np.asarray(channels, dtype="int64"):
            self._add(vector)

    def update(self, channels: np.ndarray, scores: np.ndarray) -> None:
        """Tells how good vectors are.

        Args:
            channels: int array [N, prunable groups].
            scores: Float array [N], higher is better; NaN where there is none.

        Raises:
            ValueError: If there are not as many scores as vectors.
        """
        channels, scores = np.asarray(channels, dtype="int64"), np.asarray(scores, dtype=float)
        if channels.ndim != 2 or scores.shape != channels.shape[:1]:
            raise ValueError(
                "`channels` must have the shape [N, prunable groups] and `scores` [N]. "
                f"Received: {channels.shape} and {scores.shape}"
            )
        for vector, score in zip(channels, scores.tolist(), strict=True):
            index = self._add(vector)
            if np.isfinite(score):
                self._scores[index] = score

    def get_config(self) -> dict[str, Any]:
        """What the suggestions depend on, scores aside: a nested dict."""
        return {
            "sampler": type(self).__name__,
            "seed": self.seed,
            "budget": self.budget.get_config(),
            "space": self.space.get_config(),
            **{name: getattr(self, name) for name in self.options},
        }

    def propose(self) -> np.ndarray:
        """One vector that meets the budget and is not `known`, int64 array [prunable groups]."""
        raise NotImplementedError

    def known(self, vector: np.ndarray) -> bool:
        """Whether a vector was suggested before."""
        return vector.tobytes() in self._known

    def scored(self, latest: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The vectors with scores, in the order in which they were suggested.

        Args:
            latest: How many at most, the last ones. All if `None`.

        Returns:
            Tuple of an int64 array [N, prunable groups] and a float array [N].
        """
        indices = []
        for index in range(len(self._vectors) - 1, -1, -1):
            if len(indices) == latest:
                break
            if index in self._scores:
                indices.append(index)
        indices.reverse()
        vectors = np.array([self._vectors[i] for i in indices], dtype="int64")
        scores = np.array([self._scores[i] for i in indices], dtype=float)
        return vectors.reshape(len(indices), len(self.space.choices)), scores

    def exhausted(self, draws: int) -> Exhausted:
        """The error of a sampler that found nothing new in so many draws."""
        return Exhausted(
            f"Found {len(self._known)} distinct channel vectors that meet {self.budget}, and no "
            f"further one in {draws:,} draws. Ask for fewer, or widen the tolerance or the ratios. "
            f"{self.bounds}"
        )

    def _add(self, vector: np.ndarray) -> int:
        """Index of a vector, which is known from now on."""
        index = self._known.setdefault(vector.tobytes(), len(self._vectors))
        if index == len(self._vectors):
            self._vectors.append(vector)
        return index
