"""A judge's reply → its score, or the reason why there is none. Never guesses.

The ladder: thinking blocks go first; a JSON object with the key "score" counts, on its own or in a code fence;
else the last marker `SCORE: N` at the start of a line or after a sentence. Whatever leaves two readings open
(several differing objects, ranges, words, another scale, a bare number that may answer the task instead) is no
score. Written after the rules of inspect_ai's model-graded scorers: the last marker wins, and only what was
offered counts.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

from judges.base import Unscored
from judges.objects import Found, Pairs, find_objects, whole_object
from judges.thinking import parts_of

Scale = tuple[float, float]

_INVISIBLE = " \t\r\n\u200b\u200e\u200f\u2060\ufeff"
_MARKER = re.compile(
    r"(?:^|(?<=[.!?;)])[ \t])"  # mid-sentence the word may be quoted from the answer
    r"[ \t*_`#-]*(?:(?:final|overall|total)[ \t]+)?score[ \t*_`]*[:=：][\s*_`]*(?P<value>[^\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
_VALUE = re.compile(
    r"[\[(<]{0,2}\s?(?P<number>[-−]?\d+(?:\.\d+)?)\s?(?P<percent>%?)[\])>]{0,2}"
    r"(?:\s?(?:/|out of)\s?(?P<top>\d{1,9}))?(?:\s?points?)?[\s.!*_`]*",
    re.IGNORECASE,
)

_DECLINED = r"(?:can['’]?t|cannot|can not|won['’]?t|will not|must decline to|(?:am |['’]m )?(?:not able|unable) to)"
_TASK = r"(?:assist|help|comply|continue|engage|fulfil|judge|grade|score|rate|evaluate|assess|provide|do (?:that|this))"
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
    """Where the score stood."""


def read_reply(text: str, scale: Scale) -> Reading:
    """Read the score out of a reply.

    Args:
        text: The reply as it came, thinking blocks included.
        scale: Lowest and highest score; the whole numbers between them are what was offered.

    Returns:
        A reading with a score on the scale, or with the reason why there is none. Never raises.
    """
    body = text.strip(_INVISIBLE)
    if not body:
        return Reading(reason=Unscored.EMPTY, detail="the reply is empty")
    # A whole JSON reply may talk about thinking tags; only other text is searched for them.
    if whole_object(body) is None:
        body, cut = without_thinking(body)
        body = body.strip(_INVISIBLE)
        if not body:
            return _nothing_but_thinking(cut)
    return _read_body(body, scale)


def without_thinking(text: str) -> tuple[str, bool]:
    """What is left of a reply without its thinking blocks, and whether it ended inside one; see `judges.thinking`."""
    parts = parts_of(text)
    return parts.text, parts.open


def _nothing_but_thinking(cut: bool) -> Reading:
    if cut:
        return Reading(reason=Unscored.TRUNCATED, detail="the reply ended while thinking")
    return Reading(reason=Unscored.EMPTY, detail="the reply holds nothing but thinking")


def _read_body(body: str, scale: Scale) -> Reading:
    found = find_objects(body)
    marked = None if found.opens_broken else _last_marker(found.rest, scale)
    if not found.verdicts:
        return _without_object(body, found, marked)
    readings = [_read_object(pairs, scale) for pairs in found.verdicts]
    first = readings[0]
    values = {(reading.score, reading.reason) for reading in readings}
    if marked is not None:
        values.add((marked.score, marked.reason))
    if len(values) > 1:
        return _unreadable("the reply holds scores that differ")
    return first


def _without_object(body: str, found: "Found", marked: Reading | None) -> Reading:
    if marked is not None:
        return marked
    if _REFUSAL.match(body.lstrip("*_#> \"'“")):
        return Reading(reason=Unscored.REFUSED, detail="the judge declined to judge")
    if found.cut:
        return Reading(reason=Unscored.TRUNCATED, detail="the reply ends inside a JSON object")
    return _unreadable("no score was found in the reply")


def _unreadable(detail: str) -> Reading:
    return Reading(reason=Unscored.UNREADABLE, detail=detail)


def _last_marker(text: str, scale: Scale) -> Reading | None:
    marker = None
    for marker in _MARKER.finditer(text):  # noqa: B007 - the last one is wanted
        pass
    if marker is None:
        return None
    reading = _read_value(marker["value"], scale)
    explanation = text[: marker.start()].strip() or text[marker.end() :].strip()
    return Reading(
        score=reading.score,
        reason=reading.reason,
        detail=reading.detail,
        explanation=explanation if reading.score is not None else "",
        form="text",
    )


def _read_value(text: str, scale: Scale) -> Reading:
    """A number as people write it: `85`, `85/100`, `[85]`, `85 %` where the scale ends at 100."""
    match = _VALUE.fullmatch(text.strip())
    if match is None:
        return _unreadable(f"not a single whole number: {_short(text)}")
    if (match["top"] and int(match["top"]) != scale[1]) or (match["percent"] and scale[1] != 100):
        return _unreadable(f"a score on another scale: {_short(text)}")
    return _offered(float(match["number"].replace("−", "-")), scale, text)


def _offered(number: float, scale: Scale, text: str) -> Reading:
    if number.is_integer() and scale[0] <= number <= scale[1]:
        return Reading(score=number + 0.0)  # -0.0 becomes 0.0
    offer = f"a whole number from {scale[0]:g} to {scale[1]:g}"
    return Reading(reason=Unscored.OUT_OF_RANGE, detail=f"wanted {offer}, got {_short(text)}")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 40 else text[:39] + "…")


def _read_object(pairs: Pairs, scale: Scale) -> Reading:
    readings = [_read_json_value(value, scale) for value in pairs.named("score")]
    if len({(reading.score, reading.reason) for reading in readings}) > 1:
        return _unreadable("the reply gives two scores in one object")
    reading = readings[0]
    if reading.score is None:
        return reading
    reasons = [value for value in pairs.named("reason") if isinstance(value, str)]
    return Reading(score=reading.score, explanation="\n".join(reasons).strip(), form="json")


def _read_json_value(value: object, scale: Scale) -> Reading:
    if isinstance(value, str):
        return _read_value(value, scale)
    if isinstance(value, float) and not math.isnan(value):
        return _offered(value, scale, f"{value:g}")
    return _unreadable(f"the score is not a number but {type(value).__name__}")
