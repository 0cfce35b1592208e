"""A judge's reply → its verdict, or the reason why there is none. Never guesses.

The ladder: thinking blocks go first; a JSON object with the key of the verdict counts, on its own or in a code
fence; else the last marker (`SCORE: N`, `VERDICT: A`) at the start of a line or after a sentence. Whatever leaves
two readings open (several differing objects, ranges, words, another scale, a bare number or letter that may answer
the task instead) is no verdict: `[[A]]` and `[[5]]` count behind the marker only, since answers hold lists too.
Written after the rules of inspect_ai's model-graded scorers: the last marker wins, and only what was offered counts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from judges.base import Unscored
from judges.objects import Found, Pairs, find_objects, whole_object
from judges.thinking import parts_of
from judges.values import Choices, Key, Numbers, Scale, Value, Values

_INVISIBLE = " \t\r\n\u200b\u200e\u200f\u2060\ufeff"
_MARKER = (
    r"(?:^|(?<=[.!?;)])[ \t])"  # mid-sentence the word may be quoted from the answer
    r"[ \t*_`#-]*(?:(?:final|overall|total)[ \t]+)?%s[ \t*_`]*[:=：][\s*_`]*(?P<value>[^\n]*)"
)
_MARKERS: dict[Key, re.Pattern[str]] = {
    "score": re.compile(_MARKER % "score", re.IGNORECASE | re.MULTILINE),
    "verdict": re.compile(_MARKER % "verdict", re.IGNORECASE | re.MULTILINE),
}

_DECLINED = r"(?:can['’]?t|cannot|can not|won['’]?t|will not|must decline to|(?:am |['’]m )?(?:not able|unable) to)"
_TASK = (
    r"(?:assist|help|comply|continue|engage|fulfil|judge|grade|score|rate|compare|evaluate|assess|provide"
    r"|do (?:that|this))"
)
_REFUSAL = re.compile(
    # "I cannot find an error" is no refusal, so what is declined must be the task itself.
    rf"[^\n]{{0,60}}?\b(?:I ?{_DECLINED}|I['’]m (?:not able|unable) to)\b[^\n]{{0,20}}?\b{_TASK}\b"
    r"|lo siento|je suis désolé|désolé|es tut mir leid|desculpe|mi dispiace|извините|к сожалению"
    r"|抱歉|对不起|對不起|很抱歉|我无法|我不能|申し訳|すみません|죄송",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a reply says. Exactly one of `score` and `reason` is None."""

    score: float | None = None
    reason: Unscored | None = None
    detail: str = ""
    """Why there is no score, in a few words."""
    explanation: str = ""
    """The judge's reasons, where it gave them."""
    form: Literal["json", "text", "none"] = "none"
    """Where the verdict stood."""
    written: str = ""
    """The verdict as it stood there: `85`, `A`."""


def read_reply(text: str, scale: Scale) -> Reading:
    """Read the score out of a reply.

    Args:
        text: The reply as it came, thinking blocks included.
        scale: Lowest and highest score; the whole numbers between them are what was offered.

    Returns:
        A reading with a score on the scale, or with the reason why there is none. Never raises.
    """
    return _read(text, Numbers(scale))


def read_choice(text: str, options: Mapping[str, float]) -> Reading:
    """Read the chosen option out of a reply.

    Args:
        text: The reply as it came, thinking blocks included.
        options: What was offered, in capitals, and what each is worth.

    Returns:
        A reading with what the option is worth as its score, or with the reason why there is none. Never raises.
    """
    return _read(text, Choices(options))


def _read(text: str, values: Values) -> Reading:
    body = text.strip(_INVISIBLE)
    if not body:
        return Reading(reason=Unscored.EMPTY, detail="the reply is empty")
    # A whole JSON reply may talk about thinking tags; only other text is searched for them.
    if whole_object(body) is None:
        body, cut = without_thinking(body)
        body = body.strip(_INVISIBLE)
        if not body:
            return _nothing_but_thinking(cut)
    return _read_body(body, values)


def without_thinking(text: str) -> tuple[str, bool]:
    """What is left of a reply without its thinking blocks, and whether it ended inside one; see `judges.thinking`."""
    parts = parts_of(text)
    return parts.text, parts.open


def _nothing_but_thinking(cut: bool) -> Reading:
    if cut:
        return Reading(reason=Unscored.TRUNCATED, detail="the reply ended while thinking")
    return Reading(reason=Unscored.EMPTY, detail="the reply holds nothing but thinking")


def _read_body(body: str, values: Values) -> Reading:
    found = find_objects(body, values.key)
    marked = None if found.opens_broken else _last_marker(found.rest, values)
    if not found.verdicts:
        return _without_object(body, found, marked, values.key)
    readings = [_read_object(pairs, values) for pairs in found.verdicts]
    first = readings[0]
    if marked is not None:
        readings.append(marked)
    if len({(reading.score, reading.reason) for reading in readings}) > 1:
        return _unreadable(f"the reply holds {values.key}s that differ")
    return first


def _without_object(body: str, found: Found, marked: Reading | None, key: Key) -> Reading:
    if marked is not None:
        return marked
    if _REFUSAL.match(body.lstrip("*_#> \"'“")):
        return Reading(reason=Unscored.REFUSED, detail="the judge declined to judge")
    if found.cut:
        return Reading(reason=Unscored.TRUNCATED, detail="the reply ends inside a JSON object")
    return _unreadable(f"no {key} was found in the reply")


def _unreadable(detail: str) -> Reading:
    return Reading(reason=Unscored.UNREADABLE, detail=detail)


def _last_marker(text: str, values: Values) -> Reading | None:
    marker = None
    for marker in _MARKERS[values.key].finditer(text):  # noqa: B007 - the last one is wanted
        pass
    if marker is None:
        return None
    explanation = text[: marker.start()].strip() or text[marker.end() :].strip()
    return _reading(values.from_text(marker["value"]), explanation, "text")


def _read_object(pairs: Pairs, values: Values) -> Reading:
    read = [values.from_json(value) for value in pairs.named(values.key)]
    if len({(value.score, value.reason) for value in read}) > 1:
        return _unreadable(f"the reply gives two {values.key}s in one object")
    reasons = [value for value in pairs.named("reason") if isinstance(value, str)]
    return _reading(read[0], "\n".join(reasons).strip(), "json")


def _reading(value: Value, explanation: str, form: Literal["json", "text"]) -> Reading:
    if value.score is None:
        return Reading(reason=value.reason, detail=value.detail, form=form)
    return Reading(score=value.score, explanation=explanation, form=form, written=value.written)
