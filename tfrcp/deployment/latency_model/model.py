"""The predictor: tables of segments, a factor from whole networks, and how wrong it is."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from tfrcp.arguments import check_int
from tfrcp.deployment.bundle import measure_written, writer
from tfrcp.deployment.latency_model.check import Check
from tfrcp.deployment.latency_model.segments import Segment, corner, cut, quiet, widths
from tfrcp.deployment.latency_model.tables import Cache, Table, default_folder
from tfrcp.graph.channels import ChannelGraph
from tfrcp.graph.inheritance import first_channels, slice_model
from tfrcp.status_line import StatusLine

_LEAST = 0.1  # share of the channels from which tables begin
_DEFAULT = object()


class LatencyModel:
    """How long pruned networks take on this machine, for thousands of channel vectors at once.

    The network is cut into segments; every kind of segment is built alone, at a grid of input and
    output channels, and timed. The time of a whole network is a x (sum of its segments) + b, with
    a and b fitted to whole networks of random widths, timed beside the unpruned one.

    Args:
        model: The network, built.
        graph: Its trace.
        format: What is timed: "" for the Keras model compiled by TensorFlow, or a format as in
            `config.export.format`, such as "litert" or "onnx".
        batch_size: Images per run.
        threads: As in `tfrcp.deployment.latency.measure`.
        divisor: What channel counts are multiples of, as in the `SearchSpace`.
        points: Channel counts along each side of a table, beside the full one.
        networks: Whole networks that a and b are fitted to.
        repeats: Timed runs of each.
        folder: Where measurements are kept, by default `~/.cache/tfrcp`; `None` keeps nothing. They
            are used again on the same machine, with the same versions and arguments.
        seed: Of the widths of the whole networks.
        verbose: Whether to show progress.

    Attributes:
        full: Predicted milliseconds per image of the unpruned network.
        form: Float array [prunable groups + 1, prunable groups + 1], upper triangular: the time is
            about v . form . v, where v = [channels, 1]. Guides samplers; `__call__` is exact.

    Raises:
        ValueError: If an argument is out of range.
        ImportError: If the format needs an extra that is not installed.
    """

    def __init__(
        self,
        model: keras.Model,
        graph: ChannelGraph,
        *,
        format: str = "",
        batch_size: int = 64,
        threads: int | None = None,
        divisor: int = 1,
        points: int = 4,
        networks: int = 8,
        repeats: int = 15,
        folder: Any = _DEFAULT,
        seed: int = 0,
        verbose: bool = True,
    ) -> None:
        check_int("divisor", divisor, 1)
        check_int("points", points, 2)
        check_int("networks", networks, 2)
        self.graph, self._model, self._write = graph, model, writer(format)
        self._timing = {"batch_size": batch_size, "repeats": repeats, "threads": threads}
        self._divisor, self._verbose = divisor, verbose
        conditions = {"format": format, "points": points, "divisor": divisor, **self._timing}
        self._cache = Cache(default_folder() if folder is _DEFAULT else folder, conditions)
        self._segments = cut(graph)
        self._tables = self._measure_segments(points, verbose)
        text = str([(s.key, [row.tolist() for row in s.rows]) for s in self._segments])
        self._name = f"network-{hashlib.sha256(text.encode()).hexdigest()[:16]}-{networks}-{seed}"
        self._set_line(self._cache.get(self._name, lambda: self._calibrate(networks, seed)))

    def __call__(self, channels: np.ndarray) -> np.ndarray:
        """Predicted times of channel vectors.

        Args:
            channels: int array [N, prunable groups], or [prunable groups] for a single one.

        Returns:
            Milliseconds per image, float64 array [N].

        Raises:
            ValueError: If the array has another shape.
        """
        channels = np.atleast_2d(np.asarray(channels))
        if channels.ndim != 2 or channels.shape[1] != len(self.graph.prunable):
            raise ValueError(
                f"`channels` must be an int array [N, {len(self.graph.prunable)}]. "
                f"Received: shape {channels.shape}"
            )
        return self._factor * self._sum(channels) + self._constant

    def calibrated(self, vectors: np.ndarray) -> LatencyModel:
        """The same tables, with a and b such that the unpruned network and networks like these are
        right on average.

        Tables of single layers are off by some percent, and not equally at all widths, where one
        line has to do for narrow and wide networks.

        Args:
            vectors: int array [N, prunable groups], of about the time that will be asked for.

        Returns:
            A new predictor; this one itself where the networks are too much like the unpruned one
            to tell.
        """
        vectors = np.atleast_2d(np.asarray(vectors, dtype="int64"))
        name = f"{self._name}-{hashlib.sha256(vectors.tobytes()).hexdigest()[:16]}"
        if self._verbose and name not in self._cache:
            print(f"timing {len(vectors)} networks near the budget", flush=True)
        entry = self._cache.get(name, lambda: self._line_through(vectors))
        if entry["factor"] is None:
            return self
        made = copy.copy(self)
        made._set_line(entry)
        return made

    def check(self, networks: int = 8, *, seed: int = 1) -> Check:
        """Measures whole networks of random widths, other ones than it was fitted to.

        Args:
            networks: How many.
            seed: Of their widths.

        Returns:
            `Check`, whose text tells the error.
        """
        vectors = self._random(networks, seed)
        return Check(self(vectors) / self.full, self.measure(vectors)[0])

    def measure(self, vectors: np.ndarray) -> tuple[np.ndarray, float]:
        """Times whole networks beside the unpruned one.

        Args:
            vectors: int array [N, prunable groups].

        Returns:
            Tuple of their times as shares of the unpruned network's, float array [N], and the
            unpruned network's, milliseconds per image.
        """

        def made() -> Iterator[tuple[str, keras.Model]]:
            yield "unpruned", self._model
            for number, channels in enumerate(vectors):
                masks = first_channels(self.graph.prunable, channels)
                yield str(number), slice_model(self._model, self.graph, masks)

        times = measure_written(made(), self._write, **self._timing)
        # The fastest turns: what the machine does when it is left alone.
        full = min(times.pop("unpruned").runs)
        return np.array([min(time.runs) for time in times.values()]) / full, full

    def _sum(self, channels: np.ndarray) -> np.ndarray:
        """Times of all segments together, float array [N]."""
        parts = [self._tables[s.key](s.counts(channels)) for s in self._segments]
        return np.sum(parts, axis=0)

    def _measure_segments(self, points: int, verbose: bool) -> dict[str, Table]:
        kinds = {segment.key: segment for segment in self._segments}
        new = [key for key in kinds if key not in self._cache]
        tables, line = {}, StatusLine(verbose=verbose and bool(new))
        for key, segment in kinds.items():
            if key in new and line.is_due:
                line.show(f"timing layers: {new.index(key) + 1} of {len(new)} kinds")
            entry = self._cache.get(key, lambda s=segment: self._time(s, points))
            tables[key] = Table(*(np.array(entry[name]) for name in ("inputs", "outputs", "times")))
        line.show(f"timed {len(new)} kinds of layers", last=True)
        return tables

    def _time(self, segment: Segment, points: int) -> dict[str, Any]:
        """A table, as plain lists."""
        shares = np.append(np.linspace(_LEAST, 1 - 1e-6, points), 1.0)
        axes = [shares if row[:-1].any() else np.ones(1) for row in segment.rows]
        vectors = np.array(
            [[segment.vector(a, b, self._divisor) for b in axes[1]] for a in axes[0]]
        )
        counts = segment.counts(vectors.reshape(-1, vectors.shape[-1])).reshape(
            2, len(axes[0]), len(axes[1])
        )
        inputs, rows = np.unique(counts[0, :, 0], return_index=True)
        outputs, columns = np.unique(counts[1, 0], return_index=True)
        times = np.empty((len(inputs), len(outputs)))
        for i, row in enumerate(rows):
            measured = measure_written(
                _cells(segment, vectors[row, columns]), self._write, **self._timing
            )
            *fastest, nothing = (min(time.runs) for time in measured.values())
            times[i] = np.maximum(np.array(fastest) - nothing, 0)
        return {"inputs": inputs.tolist(), "outputs": outputs.tolist(), "times": times.tolist()}

    def _calibrate(self, networks: int, seed: int) -> dict[str, float]:
        """Factor and constant such that whole networks take what they were measured to take."""
        vectors = self._random(networks, seed)
        shares, full = self.measure(vectors)
        sums = self._sum(np.concatenate([vectors, self.graph.full[None]]))
        measured = full * np.append(shares, 1.0)
        features = np.stack([sums, np.ones_like(sums)], axis=1) / measured[:, None]
        factor, constant = np.linalg.lstsq(features, np.ones(len(sums)), rcond=None)[0]
        if factor <= 0 or constant < 0:  # a line that makes no sense: through the origin then
            factor, constant = float((features[:, 0] / (features[:, 0] ** 2).sum()).sum()), 0.0
        return {"factor": float(factor), "constant": float(constant)}

    def _line_through(self, vectors: np.ndarray) -> dict[str, float | None]:
        """Factor and constant that meet the unpruned network and, on average, these."""
        shares, full = self.measure(vectors)
        mean_sum = float((self._sum(vectors) / (full * shares)).mean())
        mean_one = float((1 / (full * shares)).mean())
        of_full = float(self._sum(self.graph.full[None])[0])
        # factor x mean_sum + constant x mean_one = 1, and factor x of_full + constant = full
        factor = (1 - full * mean_one) / (mean_sum - of_full * mean_one or np.nan)
        if not (np.isfinite(factor) and factor > 0 and (shares < 0.97).all()):
            return {"factor": None, "constant": None}
        return {"factor": factor, "constant": full - factor * of_full}

    def _set_line(self, entry: Mapping[str, float]) -> None:
        self._factor, self._constant = entry["factor"], entry["constant"]
        self.full = float(self(self.graph.full)[0])
        self.form = self._quadratic()

    def _random(self, count: int, seed: int) -> np.ndarray:
        """Channel vectors of networks from narrow to wide, int array [count, groups]."""
        random = np.random.default_rng(seed)
        centers = np.linspace(0.25, 0.9, count)[:, None]
        shares = centers + random.uniform(-0.25, 0.25, (count, len(self.graph.full)))
        return widths(self.graph.full, np.clip(shares, _LEAST, 1), self._divisor)

    def _quadratic(self) -> np.ndarray:
        width = len(self.graph.prunable) + 1
        form, one = np.zeros((width, width)), np.eye(width)[-1]
        for segment in self._segments:
            source, target = segment.rows
            constant, by_input, by_output, by_both = self._tables[segment.key].bilinear()
            form += constant * np.outer(one, one) + by_input * np.outer(source, one)
            form += by_output * np.outer(target, one) + by_both * np.outer(source, target)
        form = self._factor * form + self._constant * np.outer(one, one)
        return np.triu(form) + np.tril(form, -1).T


def _cells(segment: Segment, vectors: np.ndarray) -> Iterator[tuple[str, keras.Model]]:
    """A segment at several widths, and last what reads its inputs and does nothing."""
    for number, channels in enumerate(vectors):
        built = segment.build(channels)
        yield str(number), quiet(built)
    # Calling and the inputs' way into the runtime, which a network does but once.
    yield "nothing", keras.Model(built.input, [corner(tensor) for tensor in built.inputs])
