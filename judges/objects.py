"""The JSON objects inside a reply, told apart from broken and cut-off ones."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from judges.values import Key

_OBJECT_START = re.compile(r'\{\s*"')
_KEYS: dict[Key, re.Pattern[str]] = {
    "score": re.compile(r'"score"\s*:', re.IGNORECASE),
    "verdict": re.compile(r'"verdict"\s*:', re.IGNORECASE),
}
_FENCE_OPENS = re.compile(r"```[\w-]*\s*")
_LONGEST_SEARCH = 200
"""Braces tried as the start of an object, since each try may read to the end of the reply."""


class Pairs(list[tuple[str, Any]]):
    """A JSON object as it was written: a repeated key is kept, since it leaves two readings open."""

    def named(self, wanted: str) -> list[Any]:
        """The values of every key that is `wanted`, in any case."""
        return [value for key, value in self if key.lower() == wanted]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a reply is made of."""

    verdicts: list[Pairs]
    """Objects that have the key of a verdict."""
    rest: str
    """The text outside of all objects."""
    cut: bool
    """Whether the text ends inside an object."""
    opens_broken: bool
    """Whether the reply starts with an object that cannot be read: no marker inside it counts."""


def _parse_int(digits: str) -> float:
    # int() refuses thousands of digits with a ValueError; float() makes infinity of them.
    return float(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=Pairs, parse_int=_parse_int, strict=False)


def whole_object(body: str) -> Pairs | None:
    """The object that is the entire reply, apart from a code fence around it."""
    body = _unfenced(body)
    if not body.startswith("{"):
        return None
    try:
        value, end = _DECODER.raw_decode(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, Pairs) and end == len(body) else None


def _unfenced(text: str) -> str:
    text = text.strip()
    opening = _FENCE_OPENS.match(text)
    return text[opening.end() :].removesuffix("```").rstrip() if opening else text


def find_objects(body: str, key: Key) -> Found:
    """Split a reply into the objects that have `key` and the text around them."""
    verdicts: list[Pairs] = []
    outside: list[str] = []
    position, broken, cut = 0, False, False
    for start in islice(_object_starts(body), _LONGEST_SEARCH):
        if start < position:
            continue
        try:
            value, end = _DECODER.raw_decode(body, start)
        except (ValueError, RecursionError) as error:
            cut = _ends_inside(error, body)
            broken = True
            if not _unfenced(body[:start]):
                return Found(verdicts=[], rest="", cut=cut, opens_broken=True)
            continue
        outside.append(body[position:start])
        position = end
        # What follows a broken object may be a part of it, unless it stands alone at the end.
        counts = not broken or _stands_alone_at_end(body, start, end)
        # The key must stand there as written: an escaped one is no verdict but an attempt to hide.
        if counts and value.named(key) and _KEYS[key].search(body, start, end):
            verdicts.append(value)
    outside.append(body[position:])
    return Found(verdicts=verdicts, rest="\n".join(outside), cut=cut, opens_broken=False)


def _object_starts(body: str) -> Iterator[int]:
    return (match.start() for match in _OBJECT_START.finditer(body))


def _ends_inside(error: ValueError | RecursionError, body: str) -> bool:
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated string") or error.pos >= len(body.rstrip("`\n "))


def _stands_alone_at_end(body: str, start: int, end: int) -> bool:
    before = body[:start].rstrip(" \t")
    return before.endswith("\n") and not body[end:].strip("` \t\r\n")
