"""How long an endpoint asks to wait, in any of the forms in which endpoints say it."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite


def seconds_to_wait(
    headers: Mapping[str, str], now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> float | None:
    """Seconds that the headers of an error ask to wait; None where they do not, or not readably.

    `retry-after-ms` (OpenAI, Azure) is finer than `retry-after` and goes first. That holds seconds or a date (RFC
    9110, 10.2.3), which counts from the endpoint's own `date` where it gives one: clocks differ.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None:
        return seconds
    until = _date(value)
    if until is None:
        return None
    return max((until - (_date(headers.get("date")) or now())).total_seconds(), 0.0)


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value else None
    except ValueError:
        return None
    return number if number is not None and isfinite(number) and number >= 0 else None


def _date(value: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(value) if value else None
    except (ValueError, OverflowError):
        return None
    # A date without a zone (-0000) is given in UTC.
    return date.replace(tzinfo=UTC) if date is not None and date.tzinfo is None else date
