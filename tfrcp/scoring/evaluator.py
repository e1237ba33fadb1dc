"""Scores candidates: inherits, reconstructs and evaluates a pruned network for a channel vector.

`ProgramEvaluator` runs the traced graph as one program, compiled once, on sliced weights, so that a
candidate costs what its own MACs cost. `SlicedEvaluator` builds the pruned Keras model for
each candidate: slower, and just as right. Both score by the objective as Keras would evaluate the
candidate; what a program cannot tell, as losses that depend on the candidate's weights or masks
that its layers hand on, is evaluated on the pruned Keras model itself.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfrcp.data import Examples
from tfrcp.data.rows import count_rows, take
from tfrcp.graph.calls import makes_masks
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.inheritance import select
from tfrcp.graph.parts import Parts
from tfrcp.graph.program import Program
from tfrcp.graph.rebuilding import build_model
from tfrcp.graph.weights import Weights, read_weights, slice_weights
from tfrcp.reconstruction.blocked_statistics import AT_ONCE, statistics_on, widest_bytes
from tfrcp.reconstruction.calibration import calibration_images
from tfrcp.reconstruction.least_squares import fit_together
from tfrcp.scoring.holdout import Holdout, racing_possible
from tfrcp.scoring.kinds import Objective
from tfrcp.scoring.racing import RACING_INTERVAL, RACING_LEAST, surely_positive
from tfrcp.scoring.running import (
    Outputs,
    in_blocks,
    in_other_sizes,
    run_compiled,
    run_model,
    sizes_taken_for_bias,
)

_IMAGES, _LEAST_IMAGES = 128, 32  # for the statistics of a candidate's batch norms
_PASSES = 4  # of these images, in bytes of `AT_ONCE`, of which a candidate is to see no more


@dataclasses.dataclass(frozen=True)
class Score:
    """What a candidate reached.

    Attributes:
        value: The objective on the holdout images; estimated if the candidate was stopped.
        images: Number of holdout images that it saw before it was clear that it is not the best.
    """

    value: float
    images: int


class SlicedEvaluator:
    """Scores channel vectors by building the pruned Keras model each time.

    Args:
        model: The unpruned model.
        graph: Its trace.
        scores: Maps group names to float arrays [size], from a criterion.
        holdout: The images that score, and their labels: `tfrcp.data.Examples`, or a tuple of
            arrays (x, y).
        objective: What is scored; see `tfrcp.scoring.objectives`.
        calibration: Images for reconstruction, of which the first ones re-estimate the batch norms'
            statistics, or `None` to keep what the unpruned model has.
        reconstruction: Reconstructs sliced weights: a function of arrays and masks to arrays, such
            as a `tfrcp.reconstruction.CachedLeastSquares`; `None` for none.
        batch_norm_images: How many of the calibration images do that. Defaults to 128, of large
            images to as many as keep the widest tensor of the network within 124 MiB, but 32.
        batch_size: Images in a forward pass; in a race not more than 100.
        racing: Whether to stop a candidate that is surely worse than the best so far: by more than
            three standard errors of the paired difference on the images that both have seen, of
            which there are looks every 100, of large images every 32 or somewhat more. Only
            where every image has a value of its own; else all candidates see all images.

    Attributes:
        scores: As given; may be replaced by those of another criterion.
        calibration: Images for reconstruction, in the structure of the model's inputs, or `None`.
        batch_norm_images: How many of them every candidate sees.
        racing: Whether candidates can be stopped.

    Raises:
        ValueError: If the holdout images do not fit the objective.
    """

    def __init__(
        self,
        model: keras.Model,
        graph: ChannelGraph,
        scores: Mapping[str, np.ndarray],
        holdout: Examples | tuple[Any, Any],
        objective: Objective,
        calibration: Any = None,
        *,
        reconstruction: Callable[[Weights, Mapping[str, np.ndarray]], Weights] | None = None,
        batch_norm_images: int | None = None,
        batch_size: int = 250,
        racing: bool = False,
    ) -> None:
        self._reconstruction = reconstruction
        self._model, self._graph, self.scores = model, graph, scores
        self._program = Program(graph)
        self._parts = Parts(self._program)  # compiled once for all that are reconstructed
        self.calibration = None if calibration is None else self._program.pack(calibration)
        self._weights = read_weights(graph, model)
        self._full = slice_weights(graph, self._weights, {})
        if not isinstance(holdout, Examples):
            holdout = Examples(*holdout, None, ())
        first = self._program.pack(holdout.x)
        widest = max(1, widest_bytes(self._program, self._full, first))
        self._most = max(1, AT_ONCE // widest)
        # Looks of a race: after as many whole passes.
        self._interval = min(RACING_INTERVAL, -(-RACING_LEAST // self._most) * self._most)
        first = take(first, slice(min(self._most, RACING_INTERVAL)))
        self._normalizing, self.batch_norm_images = self.calibration, 0
        if calibration is not None:
            if batch_norm_images is None:
                few = int(np.clip(_PASSES * AT_ONCE // widest, _LEAST_IMAGES, _IMAGES))
                batch_norm_images = few
            self._normalizing = take(self.calibration, slice(batch_norm_images))
            self.batch_norm_images = count_rows(self._normalizing)
            self._statistics = statistics_on(self._program, self._full, self._normalizing)
        # Whether layers add losses is known after a call.
        run_model(model)(take(first, slice(1)))
        self._by_model = makes_masks(graph.calls.calls) or (
            objective.uses_losses and bool(model.losses)
        )
        if not self._by_model:
            self._prepare_program(first, in_blocks(run_compiled(model), self._most)(first))
        self._holdout = Holdout(
            holdout,
            objective,
            model,
            run_model(model) if self._by_model else self._in_blocks(self._outputs(self._full)),
            self._program.pack,
            batch_size=1 if self._by_model else batch_size,
        )
        self.racing = racing and not self._by_model and racing_possible(self._holdout)
        self._best: np.ndarray | None = None

    def score(self, channels: np.ndarray) -> Score:
        """Scores the network with these channel counts, int array [prunable groups]."""
        arrays = self.prepare(channels)
        if self._by_model or not self._holdout.by_values:
            return Score(self.total(arrays), self._holdout.size)
        outputs = self._in_blocks(self._outputs(arrays))
        sign = 1 if self._holdout.objective.higher_is_better else -1
        seen, total = np.empty(0), self._holdout.size
        for part in self._holdout.forward_parts(self._interval if self.racing else None):
            seen = np.append(seen, self._holdout.values(part, outputs(part.x)))
            if self.racing and self._best is not None and len(seen) < total:
                behind = sign * (self._best[: len(seen)] - seen)
                if surely_positive(behind, total):
                    # The mean of its own images alone would also tell how easy they are.
                    value = self._best.mean() - sign * behind.mean()
                    return Score(float(value), len(seen))
        mean = float(seen.mean())
        if np.isfinite(mean) and (self._best is None or sign * (mean - self._best.mean()) > 0):
            self._best = seen
        return Score(mean, len(seen))

    def prepare(self, channels: np.ndarray, normalize: bool = True) -> Weights:
        """Weights and sizes of a candidate: inherited, reconstructed, perhaps with statistics."""
        masks = self.masks(channels)
        arrays = slice_weights(self._graph, self._weights, masks)
        if self._reconstruction is not None:
            arrays = self._reconstruction(arrays, masks)
        if normalize and self._normalizing is not None:
            for path, (mean, variance) in self._statistics(arrays).items():
                arrays[path]["moving_mean"] = np.asarray(mean)
                arrays[path]["moving_variance"] = np.asarray(variance)
        return arrays

    def total(self, arrays: Weights) -> float:
        """The score of weights and sizes, on all holdout images."""
        if self._by_model:
            pruned = build_model(self._model, self._graph, arrays)
            return self._holdout.total(run_model(pruned), pruned)
        return self._holdout.total(self._in_blocks(self._outputs(arrays)))

    def reconstruct(self, channels: np.ndarray, images: Any, verbose: bool = False) -> Weights:
        """Weights and sizes of one candidate, int array [prunable groups]: `reconstruct_all`."""
        return self.reconstruct_all([channels], images, verbose)[0]

    def reconstruct_all(
        self, vectors: Sequence[np.ndarray], images: Any, verbose: bool = False
    ) -> list[Weights]:
        """Weights and sizes of candidates, reconstructed once more: layer by layer.

        Args:
            vectors: int arrays [prunable groups].
            images: Images for that, in the structure of the model's inputs.
            verbose: Whether to show progress.
        """
        images = calibration_images(self._graph, images)
        # A batch norm that is called once gets its statistics on the way.
        called = Counter(call.path for call in self._graph.calls.calls)
        several = any("moving_mean" in e and called[p] > 1 for p, e in self._full.items())
        networks = [(self.prepare(v, several), self._graph.keep(self.masks(v))) for v in vectors]
        options = {"parts": self._parts, "verbose": verbose}
        found = fit_together(self._program, self._full, networks, images, **options)
        return [arrays for arrays, _ in found]

    def masks(self, channels: np.ndarray) -> dict[str, np.ndarray]:
        """Which channels a candidate keeps, bool array [size] by group name."""
        return select(self._graph, self.scores, channels)

    def score_model(self, model: keras.Model, count: int | None = None) -> float:
        """Scores a Keras model, such as `build` gives.

        Args:
            model: The model.
            count: On so many of the holdout images, drawn at random, where every one has a value of
                its own; by default, and else, on all.
        """
        run = run_model if self._by_model else run_compiled
        outputs = self._in_blocks(run(model))
        if count is not None and self._holdout.by_values and not self._by_model:
            part = next(self._holdout.forward_parts(count))
            return float(self._holdout.values(part, outputs(part.x)).mean())
        return self._holdout.total(outputs, model if self._by_model else None)

    def build(self, channels: np.ndarray, arrays: Weights | None = None) -> keras.Model:
        """The candidate as a plain Keras model, with the weights that are scored, or others."""
        arrays = self.prepare(channels) if arrays is None else arrays
        return build_model(self._model, self._graph, arrays)

    def _in_blocks(self, outputs: Outputs) -> Outputs:
        """The same function, which takes as many images at once as memory should hold."""
        return outputs if self._by_model else in_blocks(outputs, self._most)

    def _prepare_program(self, inputs: Any, expected: Any) -> None:
        """Prepares to run candidates."""

    def _outputs(self, arrays: Weights) -> Outputs:
        """A candidate as a function of inputs to outputs."""
        return run_model(build_model(self._model, self._graph, arrays))


class ProgramEvaluator(SlicedEvaluator):
    """Scores channel vectors with one compiled program. Arguments as before.

    A network that cannot be compiled for channel counts of any size is run operation by operation,
    with a warning.

    Raises:
        ValueError: If the program does not give the unpruned model's outputs, or the holdout images
            do not fit the objective.
    """

    def _prepare_program(self, inputs: Any, expected: Any) -> None:
        program, self._cut = self._program, ()
        self._run = program.compile(program.run, program.fold(self._full))
        try:
            received = self._in_blocks(self._outputs(self._full))(inputs)
        except Exception as error:  # whatever a layer does that asks for the number of channels
            warnings.warn(
                f"'{self._graph.name}' cannot be compiled for channel counts of any size and runs "
                f"operation by operation, which is slower: {str(error).strip()[:500]}",
                stacklevel=4,
            )
            self._run = program.run
            if self._normalizing is not None:
                options = {"compiled": False}
                self._statistics = statistics_on(program, self._full, self._normalizing, **options)
            # A candidate may have any number of channels up to the model's.
            most = max(sizes_taken_for_bias(self._model), default=1)
            self._cut = range(2, most + 1)
            received = self._in_blocks(self._outputs(self._full))(inputs)
        pairs = zip(keras.tree.flatten(expected), keras.tree.flatten(received), strict=True)
        for wanted, found in pairs:
            wanted, found = (keras.ops.convert_to_numpy(array) for array in (wanted, found))
            if not np.abs(found - wanted).max() < 1e-2 * (1 + np.abs(wanted).max()):
                raise ValueError(
                    f"The program of '{self._graph.name}' does not give the model's outputs: a "
                    "rule for one of its layers is wrong, or a layer is random in inference."
                )

    def _outputs(self, arrays: Weights) -> Outputs:
        """A candidate as a function of inputs to outputs, in the model's structure."""
        folded = self._program.fold(arrays)
        folded = keras.tree.map_structure(keras.ops.convert_to_tensor, folded)
        structure = self._graph.calls.outputs

        def outputs(inputs: Any) -> Any:
            flat = keras.tree.flatten(self._run(folded, inputs))
            return keras.tree.pack_sequence_as(structure, flat)

        return in_other_sizes(outputs, self._cut)
