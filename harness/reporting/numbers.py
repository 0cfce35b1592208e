"""Numbers as the report writes them."""

import math
from collections.abc import Iterable

NONE = "–"
UNKNOWN = "unknown"


def digits_of(values: Iterable[float | None]) -> int:
    """Decimals for a column of such sizes: one for points of a hundred, more for a scale of 1 to 5 or a loss."""
    largest = max((abs(v) for v in values if v is not None and math.isfinite(v)), default=100.0)
    return 1 if largest >= 10 else 2 if largest >= 1 else 3


def number(value: float | None, digits: int) -> str:
    """With a true minus sign; a dash where there is none, and in words where it may be anything."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return UNKNOWN
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def signed(value: float | None, digits: int) -> str:
    """A difference: with its sign, unless it is nothing."""
    text = number(value, digits)
    return text if text.startswith(("−", NONE, UNKNOWN)) or not text.strip("0.") else f"+{text}"


def interval(low: float | None, high: float | None, digits: int, *, sign: bool = False) -> str:
    """Both ends; a dash where there is no interval, and in words where an end may be anywhere."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return NONE
    if math.isinf(low) or math.isinf(high):
        return UNKNOWN
    shown = signed if sign else number
    return f"{shown(low, digits)} to {shown(high, digits)}"


def ends_of(estimate: float | None, low: float | None, high: float | None, digits: int) -> str:
    """The interval of an estimate; nothing where there is no estimate, and in words where nothing tells the ends."""
    if estimate is None or math.isnan(estimate):
        return ""
    shown = interval(low, high, digits)
    return UNKNOWN if shown == NONE else shown


def p_value(p: float | None) -> str:
    """Three decimals; never zero."""
    if p is None or math.isnan(p):
        return NONE
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def count(n: int | None) -> str:
    """With commas between thousands."""
    return NONE if n is None else f"{n:,}"
