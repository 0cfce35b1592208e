"""What may stand behind the marker of a verdict: the one value that was offered, or the reason why it is none."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from judges.base import Unscored

Key = Literal["score", "verdict"]
Scale = tuple[float, float]

_AROUND = " \t\r\n\u200b\u200e\u200f\u2060\u2066\u2067\u2068\u2069\ufeff"
_UNIT = r"(?:\s?(?:points?|分|点|점))?"
_NUMBER = re.compile(
    # Three digits behind a point may be thousands.
    r"[\[(<【]{0,2}\s?(?P<number>[-−]?\d+(?:\.\d{1,2})?)\s?(?P<percent>[%％]?)[\])>】]{0,2}"
    rf"(?:\s?(?:/|／|out of)\s?(?P<top>\d{{1,9}}))?{_UNIT}[\s.!。*_`]*",
    re.IGNORECASE,
)
_CHOICE = re.compile(
    r"[\[(<【\"'“]{0,2}\s?(?:(?:the\s)?(?:answer|response|option|assistant|model)\s|a\s(?=tie))?"
    r"[\s\"'“*_`]{0,3}(?P<choice>[^\W_]+)\s?[\])>】\"'”]{0,2}[\s.!。*_`]*",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value that was offered, or the reason why what stood there is none."""

    score: float | None = None
    written: str = ""
    """The value as it stood there: `85`, `A`."""
    reason: Unscored | None = None
    detail: str = ""


class Values(Protocol):
    """What a judge was offered to choose from."""

    @property
    def key(self) -> Key:
        """The key of the verdict in JSON, and its marker in text."""

    def from_text(self, text: str) -> Value:
        """Read what stands behind a marker."""

    def from_json(self, value: object) -> Value:
        """Read what stands in an object; numbers come as float."""


@dataclass(frozen=True)
class Numbers:
    """The whole numbers of a scale, as people write them: `85`, `85/100`, `[85]`, `85 %` where it ends at 100.

    Digits of any script count. Whatever else stands beside the number leaves a second reading open.
    """

    scale: Scale
    key: Key = "score"

    def from_text(self, text: str) -> Value:
        """The number that is all of `text`."""
        match = _NUMBER.fullmatch(text.strip(_AROUND))
        if match is None:
            return unreadable(f"not a single whole number: {_short(text)}")
        if (match["top"] and int(match["top"]) != self.scale[1]) or (match["percent"] and self.scale[1] != 100):
            return unreadable(f"a score on another scale: {_short(text)}")
        return self._offered(float(match["number"].replace("−", "-")), match["number"])

    def from_json(self, value: object) -> Value:
        """A number, or text that is one."""
        if isinstance(value, str):
            return self.from_text(value)
        if isinstance(value, float) and not math.isnan(value):
            return self._offered(value, f"{value:g}")
        return unreadable(f"the score is not a number but {type(value).__name__}")

    def _offered(self, number: float, written: str) -> Value:
        lowest, highest = self.scale
        if number.is_integer() and lowest <= number <= highest:
            return Value(score=number + 0.0, written=written)  # -0.0 becomes 0.0
        offer = f"a whole number from {lowest:g} to {highest:g}"
        return Value(reason=Unscored.OUT_OF_RANGE, detail=f"wanted {offer}, got {_short(written)}")


@dataclass(frozen=True)
class Choices:
    """Options by name, in any case, as people write them: `A`, `[[A]]`, `**B**`, `Answer A`, `a tie`.

    Sentences such as `A is better` or `A > B` are not taken apart: they may go on to say something else.
    """

    options: Mapping[str, float]
    key: Key = "verdict"

    def from_text(self, text: str) -> Value:
        """The option that is all of `text`."""
        match = _CHOICE.fullmatch(text.strip(_AROUND))
        if match is None:
            return unreadable(f"not a single option: {_short(text)}")
        worth = self.options.get(match["choice"].upper())
        if worth is None:
            offer = f"one of {', '.join(self.options)}"
            return Value(reason=Unscored.OUT_OF_RANGE, detail=f"wanted {offer}, got {_short(text)}")
        return Value(score=worth, written=match["choice"])

    def from_json(self, value: object) -> Value:
        """Text that is an option."""
        if isinstance(value, str):
            return self.from_text(value)
        return unreadable(f"the verdict is not text but {type(value).__name__}")


def unreadable(detail: str) -> Value:
    """No value, since what stood there leaves more than one reading open."""
    return Value(reason=Unscored.UNREADABLE, detail=detail)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 40 else text[:39] + "…")
