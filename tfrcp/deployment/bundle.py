"""The files that go on a device, written beside those of the unpruned network and timed together.

Whether pruning made a network smaller and faster shows where it runs: so both networks are exported
to every format that is asked for, and the two files of a format take turns in its runtime. Only the
pruned network's files are kept.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from tfrcp.deployment import latency
from tfrcp.deployment.formats import FORMATS, Format
from tfrcp.deployment.writing import Exported, export
from tfrcp.models.structure import random_inputs

_WORDS = {None: "float32", "dynamic": "dynamic range"}  # of quantizations, where they differ


class Kind(NamedTuple):
    """What a file is: its format, its quantization, its name, and what pages call it."""

    format: str
    quantization: str | None
    file: str
    title: str


class Deployed(NamedTuple):
    """A file of the pruned network beside that of the unpruned one, timed in turns.

    Attributes:
        kind: What they are.
        before: That of the unpruned network, which is gone.
        after: That of the pruned one.
        times: Their times, under "before" and "after".
    """

    kind: Kind
    before: Exported
    after: Exported
    times: dict[str, latency.Latency]


Writer = Callable[[keras.Model, Path], Any]
"""Writes a model into an empty folder and returns the path to time; or hands the model on."""


def kinds_of(formats: Mapping[str, Format]) -> dict[str, Kind]:
    """The kinds of files that formats have: one for each quantization."""
    found = {}
    for name, format in formats.items():
        for quantization in format.quantizations:
            end = "" if quantization is None else f"_{quantization}"
            file = f"model{end}{format.suffix}" if format.suffix else "saved_model"
            several = len(format.quantizations) > 1
            words = f" {_WORDS.get(quantization, quantization)}" if several else ""
            found[name + end] = Kind(name, quantization, file, format.title + words)
    return found


KINDS = kinds_of(FORMATS)
"""The kinds of files by name."""


def kinds(names: str | Sequence[str]) -> dict[str, Kind]:
    """The kinds of files of these names, which may also be joined by commas.

    Raises:
        ValueError: If there is none, or a name is unknown.
        ImportError: If one needs an extra that is not installed.
    """
    joined = names if isinstance(names, str) else ",".join(names)
    wanted = [name.strip() for name in joined.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in KINDS]
    if unknown or not wanted:
        received = repr(unknown[0]) if unknown else repr(names)
        raise ValueError(f"must be one or more of {list(KINDS)}. Received: {received}")
    for name in wanted:
        FORMATS[KINDS[name].format].check()
    return {name: KINDS[name] for name in wanted}


def writer(name: str) -> Writer:
    """What makes of a network what is timed: a file of a kind, or for "" the network itself.

    Files are not checked: no difference is too large.

    Returns:
        A function of the network and an empty folder.

    Raises:
        ValueError: If the name is unknown.
        ImportError: If it needs an extra that is not installed.
    """
    if not name:
        return lambda model, folder: model
    try:
        (kind,) = kinds(name).values()
    except ValueError as error:
        raise ValueError(f"`format` must be one of {list(KINDS)}. Received: {name!r}") from error

    def write(model: keras.Model, folder: Path) -> Path:
        return export(
            model,
            folder / kind.file,
            kind.format,
            quantization=kind.quantization,
            calibration=random_inputs(model, 8) if kind.quantization == "int8" else None,
            tolerance=np.inf,
        ).path

    return write


def measure_written(
    networks: Iterable[tuple[str, keras.Model]], write: Writer, **options: Any
) -> dict[str, latency.Latency]:
    """Times networks, each of which is written before the next one is asked for."""
    with tempfile.TemporaryDirectory() as root:
        written = {}
        for name, model in networks:
            folder = Path(root, name)
            folder.mkdir()
            written[name] = write(model, folder)
        return latency.measure(written, random_inputs(model), **options)


def deploy(
    before: keras.Model,
    after: keras.Model,
    folder: str | os.PathLike[str],
    names: str | Sequence[str],
    images: Any,
    labels: Any,
    *,
    calibration: Any,
    batch_size: int = 64,
    accuracy_tolerance: float = 0.01,
    score_tolerance: float = 0.1,
    **options: Any,
) -> Iterator[tuple[str, Deployed]]:
    """Writes the files of a pruned network and compares each with the unpruned network's.

    Args:
        before: The unpruned network.
        after: The pruned one.
        folder: Where its files go; exists. Earlier exports are replaced.
        names: Keys of `KINDS`.
        images: Images `[n, ...]` as the files take them, to compare and to time on.
        labels: Their labels, by which the files are scored.
        calibration: Images that quantization to integers reads the ranges of activations from.
        batch_size: Images per timed run.
        accuracy_tolerance: Largest loss of accuracy by the conversion, a share of the images.
        score_tolerance: Largest change for the worse of any other score, a fraction of it.
        **options: Further arguments of `tfrcp.export`, such as `objective`.

    Yields:
        For each file its name among `KINDS`, and a `Deployed`.
    """
    for name, kind in kinds(names).items():
        write = functools.partial(
            export,
            format=kind.format,
            quantization=kind.quantization,
            calibration=calibration if kind.quantization == "int8" else None,
            sample=images,
            labels=labels,
            **options,
        )
        done = write(
            after,
            Path(folder, kind.file),
            accuracy_tolerance=accuracy_tolerance,
            score_tolerance=score_tolerance,
            overwrite=True,
        )
        with tempfile.TemporaryDirectory() as elsewhere:
            twin = write(
                before,
                Path(elsewhere, kind.file),
                tolerance=np.inf,
                accuracy_tolerance=1.0,
                score_tolerance=np.inf,
            )
            times = latency.measure(
                {"before": twin.path, "after": done.path}, images, batch_size=batch_size
            )
        yield name, Deployed(kind, twin, done, times)
