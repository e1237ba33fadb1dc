"""What pruning gained and lost: two networks side by side, as a table and in one sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from tfrcp.data import IN_MEMORY, Examples, read_examples
from tfrcp.data.rows import take
from tfrcp.deployment import latency as timing
from tfrcp.graph.calls import makes_masks
from tfrcp.graph.trace import trace
from tfrcp.models.structure import input_structure, random_inputs
from tfrcp.pages import render
from tfrcp.reconstruction.blocked_statistics import AT_ONCE
from tfrcp.scoring import objectives
from tfrcp.scoring.meters import CompiledMeter
from tfrcp.scoring.objectives import Objective
from tfrcp.scoring.running import Outputs, run_model, run_within_memory
from tfrcp.scoring.traits import is_compiled
from tfrcp.scoring.verdict import Change, paired_interval, verdict
from tfrcp.space.cost import CostModel
from tfrcp.units import aligned, count, size

_NOTE = "One multiply-add (MAC) is one FLOP. In brackets: 95 % intervals."


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """A network before and after pruning. Prints as a table, in a notebook too.

    Attributes:
        before: Figures of the unpruned network by name: the objective's, such as "accuracy", where
            there are data; "flops" and "activations" per image; "params"; "bytes", the size of the
            weights; "latency_ms" per image, where it was measured.
        after: Those of the pruned one.
        ratio: After / before, by name.
        score: What became of the objective, a `tfrcp.scoring.verdict.Change` with its 95 %
            interval, or `None`.
        latency: Time after / before, a `tfrcp.deployment.latency.Ratio`, or `None`.
        verdict: All that in one sentence.
    """

    before: dict[str, float]
    after: dict[str, float]
    score: Change | None
    latency: timing.Ratio | None
    verdict: str
    conditions: str = ""

    @property
    def ratio(self) -> dict[str, float]:
        """After / before, by name; NaN where it was 0 before."""
        return {
            name: self.after[name] / value if value else float("nan")
            for name, value in self.before.items()
        }

    def rows(self) -> list[tuple[str, str, str, str]]:
        """The table: quantity with its unit, before, after, after / before."""
        found = [("", "before", "after", "after / before")]
        if self.score is not None:
            values = (self.score.before, self.score.after)
            change = self.score.difference_text()
            found.append((self.score.label, *map(self.score.text, values), change))
        for name, title, text in (
            ("flops", "MACs per image", count),
            ("params", "parameters", count),
            ("activations", "activations per image", count),
            ("bytes", "size of the weights", size),
            ("latency_ms", f"time per image, {self.conditions}", "{:.3g} ms".format),
        ):
            if name not in self.before:
                continue
            ratio = f"{self.ratio[name]:.3f}"
            if name == "latency_ms":
                low, high = self.latency.low, self.latency.high
                ratio = f"{self.latency.ratio:.2f} ({low:.2f} to {high:.2f})"
            found.append((title, text(self.before[name]), text(self.after[name]), ratio))
        return found

    def __str__(self) -> str:
        return f"{self.verdict}\n\n{aligned(self.rows())}\n\n{_NOTE}"

    def _repr_html_(self) -> str:
        return render("comparison.html", verdict=self.verdict, rows=self.rows(), note=_NOTE)


def compare(
    model: keras.Model,
    pruned: keras.Model,
    data: Any = None,
    *,
    objective: Any = "auto",
    latency: bool = False,
    batch_size: int = 64,
    images: str = "data",
) -> Comparison:
    """Says what pruning gained and lost.

    Args:
        model: The unpruned network, compiled where its loss or metrics are meant.
        pruned: The pruned one. Its score is by the loss and metrics of `model`.
        data: Data to score both on, best those that neither trained nor selected: a batched
            `tf.data.Dataset`, a tuple of arrays (x, y), x alone, or a `PyDataset`. Without, costs
            alone are compared.
        objective: As for `tfrcp.prune`.
        latency: Whether to measure the time per image as well, on this machine, the two taking
            turns; see `tfrcp.latency`.
        batch_size: Images per timed run.
        images: What the data are called in the verdict, such as "test set".

    Returns:
        `Comparison`: it prints, and has `before`, `after` and `ratio` by name, and `verdict`.

    Raises:
        ValueError: If the networks or the data do not go together.
    """
    _check(model, pruned)
    before, after = _costs(model), _costs(pruned)
    change, sample = None, None
    if data is not None:
        if isinstance(data, list) and len(data) == len(model.inputs):
            data = (data,)  # the inputs of the model, without labels
        found = read_examples(data, memory=IN_MEMORY)
        source = model if is_compiled(model) or not is_compiled(pruned) else pruned
        goal = objectives.get(source, objective, labels=found.y is not None)
        if goal.needs_labels and found.y is None:
            raise ValueError(
                f"`data` must come with labels for the objective '{goal.name}'; "
                "objective='agreement' needs none. Received: images alone"
            )
        change = score_change(model, pruned, _batches(found), goal, source=source)
        before = {goal.metric: change.before, **before}
        after = {goal.metric: change.after, **after}
        sample = found.x
    ratio, conditions = None, ""
    if latency:
        sample = random_inputs(model) if sample is None else _packed(model, sample)
        times = timing.measure({"before": model, "after": pruned}, sample, batch_size=batch_size)
        ratio = timing.ratio(times["after"], times["before"])
        conditions = f"batch of {batch_size} on {times['after'].device} by TensorFlow"
        before["latency_ms"], after["latency_ms"] = times["before"].median, times["after"].median
    return Comparison(
        before,
        after,
        change,
        ratio,
        verdict(
            score=change,
            images=images,
            time=None if ratio is None else (ratio.ratio, ratio.low, ratio.high),
            place="in TensorFlow",
            size=after["bytes"] / before["bytes"] if before["bytes"] else None,
            macs=after["flops"] / before["flops"] if before["flops"] else None,
        ),
        conditions,
    )


def score_change(
    model: keras.Model | None,
    pruned: keras.Model,
    batches: Iterable[tuple[Any, Any, Any]],
    objective: Objective,
    *,
    source: keras.Model | None = None,
) -> Change:
    """What becomes of a score from one network to another, on the same examples.

    Where the score is the mean of one value for each example, the change has a 95 % interval.

    Args:
        model: The unpruned network; `None` scores the other one alone.
        pruned: The pruned one.
        batches: Tuples (x, y, sample_weight), as Keras's `evaluate` takes them; `None` for none.
        objective: What is scored.
        source: The network whose loss and metrics count. Defaults to the unpruned one.
    """
    networks = [network for network in (model, pruned) if network is not None]
    source = networks[0] if source is None else source
    values: list[list[Any]] = [[] for _ in networks]
    kept, runs = [], [_runner(network) for network in networks]
    keeps_inputs = isinstance(objective.meter(source), CompiledMeter)  # others do not look at them
    for x, y, weight in batches:
        outputs = [run(_packed(network, x)) for run, network in zip(runs, networks, strict=True)]
        wanted = outputs[0] if objective.needs_reference else y
        for seen, found in zip(values, outputs, strict=True):
            seen.append(objective.values(wanted, found, weight))
        kept.append((x if keeps_inputs else None, wanted, weight, outputs))
    results = []
    for index, network in enumerate(networks):  # one after the other: they may share metrics
        meter = objective.meter(_owner(objective, source, network))
        for x, wanted, weight, outputs in kept:
            meter.update(wanted, outputs[index], weight, x)
        results.append(meter.result())
    interval = (None, None)
    if model is not None and all(part is not None for seen in values for part in seen):
        arrays = [np.concatenate(seen) for seen in values]
        means = np.array([array.mean() for array in arrays])
        if len(arrays[0]) > 1 and np.allclose(means, results, rtol=1e-5, atol=1e-9):
            interval = paired_interval(*arrays)
    return Change(
        objective.label,
        results[0] if model is not None else None,
        results[-1],
        *interval,
        is_share=objective.is_share,
    )


def _runner(network: keras.Model) -> Outputs:
    """A network as a function; with the masks of its outputs where it makes any."""
    if makes_masks(trace(network).calls.calls):
        return run_model(network)
    return run_within_memory(network, AT_ONCE)


def _check(model: keras.Model, pruned: keras.Model) -> None:
    """Refuses networks that do not do the same job."""
    for name, network in (("model", model), ("pruned", pruned)):
        if not isinstance(network, keras.Model) or not network.built:
            raise ValueError(f"`{name}` must be a built keras.Model. Received: {network!r}")
    shapes = [[tuple(t.shape) for t in (*n.inputs, *n.outputs)] for n in (model, pruned)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "`pruned` must have inputs and outputs of the shapes of `model`. Received: "
            f"{shapes[1]} and {shapes[0]}"
        )


def _costs(model: keras.Model) -> dict[str, float]:
    full = CostModel(trace(model)).full
    kept = sum(weight.numpy().nbytes for weight in model.weights)
    return {**{key: int(value) for key, value in full._asdict().items()}, "bytes": kept}


def _batches(found: Examples) -> Iterator[tuple[Any, Any, Any]]:
    """The batches of a data set, or of arrays those of Keras's `evaluate`."""
    start = 0
    for length in found.evaluated_batches:
        part = slice(start, start + length)
        yield take(found.x, part), take(found.y, part), take(found.sample_weight, part)
        start += length


def _packed(model: keras.Model, x: Any) -> Any:
    """Inputs in the structure that the model takes."""
    return keras.tree.pack_sequence_as(input_structure(model), keras.tree.flatten(x))


def _owner(objective: Objective, source: keras.Model, network: keras.Model) -> keras.Model:
    """The network whose loss and metrics count: its own where its weights are penalised."""
    if network is source or not (objective.uses_losses and network.losses):
        return source
    if not is_compiled(network):
        raise ValueError(
            f"The loss of '{network.name}' has penalties of its own weights: compile it as the "
            "other network, or give another objective. Received: a network that is not compiled"
        )
    return network
