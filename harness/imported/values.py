"""One score as a tool wrote it, as a number."""

import math
from collections.abc import Mapping
from typing import Any

TRUTH: Mapping[str, float] = {"true": 1.0, "false": 0.0}
GRADES: Mapping[str, float] = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
"""Inspect's: correct, partially correct, incorrect, no answer (which is a checkpoint's own behaviour, and wrong)."""


LARGEST = 1e100  # of a score: sums of its squares are still numbers


class NotANumber(ValueError):
    """Something else than a number stands where a score should; nothing is guessed."""


def number(value: Any, words: Mapping[str, float] = TRUTH) -> float | None:
    """The number; None where there is none (null, empty, NaN, infinite): unscored, and never a zero.

    Args:
        value: As JSON, CSV or Parquet have it.
        words: Words that stand for numbers, as they are written or in lower case.

    Raises:
        NotANumber: If it is something else; says what.
    """
    if isinstance(value, str):
        return _read(value.strip(), words)
    if value is None:
        return None
    try:
        found = float(value)  # also what numpy calls a number or a truth value
    except (TypeError, ValueError, OverflowError):
        raise NotANumber(f"{type(value).__name__} {_short(value)}") from None
    return _bounded(found)


def _read(text: str, words: Mapping[str, float]) -> float | None:
    if not text or text.lower() in ("null", "none", "na", "n/a"):
        return None
    word = words.get(text, words.get(text.lower()))
    if word is not None:
        return word
    try:
        # Python reads "1_000" as a number too; no other tool does.
        found = float(text) if "_" not in text else None
    except ValueError:
        found = None
    if found is None:
        raise NotANumber(_short(text))
    return _bounded(found)


def _bounded(found: float) -> float | None:
    """What is not finite is no score; what is beyond any scale would drown all others."""
    if not math.isfinite(found):
        return None
    if abs(found) > LARGEST:
        raise NotANumber(f"{found:g}, beyond any scale")
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
