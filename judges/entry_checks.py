"""Checks as an entry names them in its `meta["check"]`: read, and refused where they are wrong."""

import json
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches

from judges.base import JSON
from judges.check_kinds import Check, Contains, Exact, IsJson, Matches, Near, schema_of
from judges.last_number import Tolerance, last_number, read_tolerance
from judges.overlap import tokens
from judges.patterns import compile_pattern


def checks_of_entry(wanted: Mapping[str, JSON]) -> list[Check]:
    """The checks that an entry names: `{"contains": ["Paris"], "number": 3.5, "tolerance": 0.1}`.

    Kinds whose value is null do not count: tables have a column for each.

    Raises:
        ValueError: An unknown kind, or one that is not as wanted; one line.
    """
    named = {kind: value for kind, value in wanted.items() if value is not None}
    tolerance = named.pop("tolerance", None)
    if tolerance is not None and "number" not in named:
        raise ValueError("tolerance: wanted a number that it belongs to, found none")
    checks = []
    for kind, value in named.items():
        try:
            checks.append(number_check(value, tolerance) if kind == "number" else _kind(kind)(value))
        except ValueError as error:
            raise ValueError(f"{kind}: {error}") from None
    return checks


def number_check(value: JSON, tolerance: JSON = None) -> Near:
    """A number (or `true` for the expected answer's) and how far off the answer may be.

    Raises:
        ValueError: One of them is no number.
    """
    allowed = Tolerance() if tolerance is None else read_tolerance(_spelled(tolerance, "a tolerance such as 0.1 or 1%"))
    if value is True:
        return Near(None, allowed)
    wanted = last_number(_spelled(value, "a number, or true for that of the expected answer"))
    if wanted is None:
        raise ValueError(f"wanted a number, found {value!r:.40}")
    return Near(wanted, allowed)


def schema_check(raw: JSON) -> IsJson:
    """A check against a JSON Schema.

    Raises:
        ValueError: It is none.
    """
    text = json.dumps(raw, sort_keys=True)
    schema_of(text)
    return IsJson(text)


def pattern_check(value: JSON) -> Matches:
    """A check for a pattern, or several.

    Raises:
        ValueError: One of them is none.
    """
    patterns = _texts(value, "a regular expression, or a list of them")
    for pattern in patterns:
        compile_pattern(pattern)
    return Matches(patterns)


def _exact(value: JSON) -> Exact:
    if value is True:
        return Exact()
    return Exact(_visible(*_texts(value, "true for the expected answer, or a text", most=1))[0])


def _contains(value: JSON) -> Contains:
    if value is True:
        return Contains()
    return Contains(_visible(*_texts(value, "true for the expected answer, a text, or a list of texts")))


def _json(value: JSON) -> IsJson:
    if value is not True:
        raise ValueError(f"wanted true, found {value!r:.40}; a schema goes under json_schema")
    return IsJson()


KINDS: dict[str, Callable[[JSON], Check]] = {
    "exact": _exact,
    "contains": _contains,
    "regex": pattern_check,
    "number": number_check,
    "json": _json,
    "json_schema": schema_check,
}


def _kind(name: str) -> Callable[[JSON], Check]:
    if name not in KINDS:
        near = get_close_matches(name, KINDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(KINDS)}"
        raise ValueError(f"an unknown kind of check; {hint}")
    return KINDS[name]


def _texts(value: JSON, wanted: str, *, most: int | None = None) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if isinstance(values, Sequence) and 0 < len(values) <= (most or len(values)):
        texts = tuple(text for text in values if isinstance(text, str) and text)
        if len(texts) == len(values):
            return texts
    raise ValueError(f"wanted {wanted}, found {value!r:.40}")


def _visible(*texts: str) -> tuple[str, ...]:
    for text in texts:
        if not tokens(text):
            raise ValueError(f"wanted a text with something to see, found {text!r:.40}")
    return texts


def _spelled(value: JSON, wanted: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"wanted {wanted}, found {value!r:.40}")
    return str(value)
