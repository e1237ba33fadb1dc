"""What a cell of a study came to, as a record, and as one line of JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self


@dataclasses.dataclass(frozen=True)
class Seconds:
    """Wall times of a cell's parts."""

    criterion: float = 0.0
    allocation: float = 0.0
    finetune: float = 0.0


@dataclasses.dataclass(frozen=True)
class CellResult:
    """What a cell came to.

    Attributes:
        error: Why it failed, "" if it did not; then nothing else is known.
        test_accuracy: Accuracy on the test images after fine-tuning.
        holdout_accuracy: That on the holdout images.
        before_accuracy: Accuracy before it, on images that selected nothing. (In studies of before
            that was measured it is `score`.)
        score: Accuracy before it on the holdout images, that candidates are ranked by.
        flops: Share of the unpruned MACs.
        params: Share of the unpruned weights.
        channels: The channel counts.
        candidates: Number of networks that were scored.
        passes: Images that went through a network before fine-tuning.
        images: Images that the criterion read.
        finetune_images: Images that fine-tuning saw.
        seconds: Wall times.
        base: Number of its base, `None` where there is one only.
        base_accuracy: Accuracy of that base on the test images.
    """

    error: str = ""
    test_accuracy: float = 0.0
    holdout_accuracy: float = 0.0
    before_accuracy: float = 0.0
    score: float = 0.0
    flops: float = 0.0
    params: float = 0.0
    channels: tuple[int, ...] = ()
    candidates: int = 0
    passes: int = 0
    images: int = 0
    finetune_images: int = 0
    seconds: Seconds = Seconds()
    base: int | None = None
    base_accuracy: float | None = None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Self:
        """The record of a JSON object.

        Raises:
            TypeError: If it holds something unknown.
        """
        if "error" in entry:
            return cls(error=entry["error"])
        known = {"before_accuracy": entry["score"], **entry}
        known |= {"channels": tuple(entry["channels"]), "seconds": Seconds(**entry["seconds"])}
        return cls(**known)

    def json(self) -> dict[str, Any]:
        """The JSON object, numbers with six significant digits: more than any table shows."""
        if self.error:
            return {"error": self.error}
        entry = dataclasses.asdict(self)
        del entry["error"]
        if self.base is None:
            del entry["base"], entry["base_accuracy"]
        return _short(entry)


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _short(entry) for name, entry in value.items()}
    return value
