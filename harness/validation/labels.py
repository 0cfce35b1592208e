"""A file of what people said of recorded answers."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.errors import FinetuneError
from finetune.reading.sources import read_raw
from harness.errors import HarnessError

Scale = tuple[float, float]

FIELDS = ("item_id", "checkpoint", "score")
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_SCALE = re.compile(rf"\s*\[?\s*{_NUMBER}\s*(?:-|–|to|,|\.\.)\s*{_NUMBER}\s*\]?\s*")


@dataclass(frozen=True)
class Label:
    """What one person said of one answer.

    Attributes:
        place: Where it stands, for messages.
        item_id: Of the entry that was answered.
        checkpoint: Name, slug or fingerprint of who answered.
        score: On its scale.
        rater: Who said it; "" where nobody is named.
        scale: Lowest and highest score; None: the judge's.
        dataset: Name or label of the data set that the item is of; "" where nobody said.
    """

    place: str
    item_id: str
    checkpoint: str
    score: float
    rater: str
    scale: Scale | None
    dataset: str = ""


def read_labels(path: Path) -> list[Label]:
    """Read JSONL, JSON or CSV with the fields item_id, checkpoint, score, and if wanted rater, scale and dataset.

    Fields beside these are left alone. A scale is written 1-5 or [1, 5]. Of the labels that a review wrote (with a
    `key`) the last of each key counts; what was taken back, and what compares two answers, is passed over.

    Raises:
        HarnessError: If there are no labels, a field is missing, a score is no number or not on its scale.
        FinetuneError: If the file is not what its ending says.
    """
    labels = [label_of(raw, f"{path}, label {number}") for number, raw in _that_count(_raw(path))]
    if not labels:
        raise HarnessError(f"{path} holds no labels: wanted lines with {', '.join(FIELDS)}")
    return labels


def _raw(path: Path) -> list[Any]:
    """What stands there; of a review's own file without a last line that a crash tore."""
    rows: list[Any] = []
    try:
        for raw in read_raw(path):
            rows.append(raw)
    except FinetuneError:
        if not rows or not all(map(_of_review, rows)) or path.read_bytes().count(b"\n") != len(rows):
            raise
    return rows


def _that_count(rows: Sequence[Any]) -> list[tuple[int, Any]]:
    """With their numbers; see `read_labels`."""
    last = {raw["key"]: number for number, raw in enumerate(rows, 1) if _of_review(raw)}
    numbered = enumerate(rows, 1)
    return [(number, raw) for number, raw in numbered if not _of_review(raw) or _counts(raw, number, last)]


def _counts(raw: Mapping[str, Any], number: int, last: Mapping[str, int]) -> bool:
    return last[raw["key"]] == number and raw.get("score") is not None and not raw.get("other")


def _of_review(raw: Any) -> bool:
    return isinstance(raw, Mapping) and isinstance(raw.get("key"), str)


def label_of(raw: Any, place: str) -> Label:
    """A label from the fields of a line or row.

    Args:
        raw: As it was read.
        place: Where it stands, for messages.

    Raises:
        HarnessError: If a field is missing, the score is no number or not on its scale.
    """
    if not isinstance(raw, Mapping):
        raise HarnessError(f"{place}: wanted the fields {', '.join(FIELDS)}, found {str(raw)[:40]!r}")
    missing = [name for name in FIELDS if name not in raw]
    if missing:
        there = ", ".join(map(str, raw)) or "none"
        raise HarnessError(f"{place}: wanted the fields {', '.join(FIELDS)}; {missing[0]} is missing, found {there}")
    score, scale = _score(raw["score"], place), scale_of(raw.get("scale"), place)
    if scale and not scale[0] <= score <= scale[1]:
        raise HarnessError(f"{place}: the score {score:g} lies outside of its own scale, {scale[0]:g} to {scale[1]:g}")
    return Label(
        place=place,
        item_id=str(raw["item_id"]),
        checkpoint=str(raw["checkpoint"]),
        score=score,
        rater=str(raw.get("rater") or ""),
        scale=scale,
        dataset=str(raw.get("dataset") or ""),
    )


def _score(value: Any, place: str) -> float:
    try:
        number = math.nan if isinstance(value, bool | None) else float(value)
    except (ValueError, TypeError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise HarnessError(f"{place}: wanted a number as score, found {value!r}; leave out what nobody scored")
    return number


def scale_of(value: Any, place: str) -> Scale | None:
    """The ends of a scale, written as text or as a list of two numbers; None where nothing is written.

    Raises:
        HarnessError: If it is no scale.
    """
    if value is None or value == "":
        return None
    found = _SCALE.fullmatch(str(value))
    if not found or float(found[1]) >= float(found[2]):
        raise HarnessError(f"{place}: wanted a scale such as 1-5, the lowest score first, found {value!r}")
    return float(found[1]), float(found[2])
