"""The kinds of check that need no model: each says of one answer whether it holds."""

import json
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from judges.base import JSON, Unscored, canonical_hash
from judges.json_answers import Schema, read_json
from judges.last_number import Number, Tolerance, is_within, last_number
from judges.overlap import is_exact, tokens
from judges.patterns import SECONDS, found_in


@dataclass(frozen=True)
class Finding:
    """What a check found: `holds` is None where it could not be made, and `reason` says why."""

    holds: bool | None
    said: str
    reason: Unscored | None = None


class Check(Protocol):
    """One thing that an answer is checked for."""

    @property
    def needs_expected(self) -> bool:
        """Whether it compares with the expected answer."""

    def identity(self) -> dict[str, JSON]:
        """Kind and parameters, in a form that can be hashed."""

    def find(self, answer: str, expected: str) -> Finding:
        """Check an answer."""


@dataclass(frozen=True)
class Exact:
    """The answer is the wanted one, or else the expected one, after normalisation; see `judges.overlap`."""

    wanted: str | None = None

    @property
    def needs_expected(self) -> bool:
        """Unless it has an answer of its own."""
        return self.wanted is None

    def identity(self) -> dict[str, JSON]:
        """The wanted answer."""
        return {"check": "exact", "wanted": self.wanted}

    def find(self, answer: str, expected: str) -> Finding:
        """Compare."""
        wanted = expected if self.wanted is None else self.wanted
        if not tokens(wanted):
            return _NOTHING_EXPECTED
        same = is_exact(answer, wanted)
        return Finding(same, f"found {_quoted(answer)}, wanted {_quoted(wanted)}")


@dataclass(frozen=True)
class Contains:
    """All of these texts, or else the expected answer, occur in the answer: whole tokens, after normalisation."""

    wanted: tuple[str, ...] = ()

    @property
    def needs_expected(self) -> bool:
        """Unless it has texts of its own."""
        return not self.wanted

    def identity(self) -> dict[str, JSON]:
        """The wanted texts."""
        return {"check": "contains", "wanted": self.wanted}

    def find(self, answer: str, expected: str) -> Finding:
        """Look for them."""
        wanted = self.wanted or (expected,)
        if not all(map(tokens, wanted)):
            return _NOTHING_EXPECTED
        inside = _joined(answer)
        missing = [
            text for text in wanted if not (text.strip() in answer if _is_marks(text) else _joined(text) in inside)
        ]
        said = "missing" if missing else "found"
        return Finding(not missing, f"{said} {', '.join(map(_quoted, missing or wanted))}")


@dataclass(frozen=True)
class Matches:
    """All of these regular expressions match somewhere in the answer, which is taken as it is."""

    patterns: tuple[str, ...]
    seconds: float = field(default=SECONDS, compare=False)
    needs_expected = False

    def identity(self) -> dict[str, JSON]:
        """The patterns."""
        return {"check": "regex", "patterns": self.patterns}

    def find(self, answer: str, expected: str) -> Finding:
        """Search, for a limited time."""
        for pattern in self.patterns:
            try:
                if not found_in(answer, pattern, seconds=self.seconds):
                    return Finding(False, f"no match of {pattern}")
            except TimeoutError:
                return Finding(None, f"{pattern} took more than {self.seconds:g} s", Unscored.TIMEOUT)
        return Finding(True, f"matches {', '.join(self.patterns)}")


@dataclass(frozen=True)
class Near:
    """The last number of the answer is the wanted one, or else the expected answer's last, within a tolerance."""

    wanted: Number | None
    tolerance: Tolerance

    @property
    def needs_expected(self) -> bool:
        """Unless it has a number of its own."""
        return self.wanted is None

    def identity(self) -> dict[str, JSON]:
        """The wanted number and the tolerance, exactly."""
        wanted: JSON = None if self.wanted is None else [str(self.wanted.value), self.wanted.percent]
        return {"check": "number", "wanted": wanted, "tolerance": str(self.tolerance)}

    def find(self, answer: str, expected: str) -> Finding:
        """Compare."""
        wanted = self.wanted or last_number(expected)
        if wanted is None:
            return Finding(None, "the expected answer has no number", Unscored.NOT_CHECKABLE)
        found = last_number(answer)
        within = f" within {self.tolerance}" if self.tolerance.amount else ""
        said = f"found {'no number' if found is None else found}, wanted {wanted}{within}"
        return Finding(found is not None and is_within(found, wanted, self.tolerance), said)


@dataclass(frozen=True)
class IsJson:
    """The answer, or its only code block, is JSON, and fits a schema if there is one."""

    schema: str | None = None
    """As JSON text."""
    needs_expected = False

    def identity(self) -> dict[str, JSON]:
        """A hash of the schema, which may be long."""
        return {"check": "json", "schema": self.schema and canonical_hash(json.loads(self.schema))}

    def find(self, answer: str, expected: str) -> Finding:
        """Read it, and hold it against the schema."""
        try:
            value = read_json(answer)
        except ValueError as error:
            return Finding(False, str(error))
        if self.schema is None:
            return Finding(True, "is JSON")
        try:
            misfit = schema_of(self.schema).misfit(value)
        except TimeoutError:
            return Finding(None, f"a pattern of the schema took more than {SECONDS:g} s", Unscored.TIMEOUT)
        except ValueError as error:
            return Finding(None, str(error), Unscored.ERROR)
        return Finding(misfit is None, f"does not fit the schema: {misfit}" if misfit else "fits the schema")


@lru_cache(maxsize=256)
def schema_of(text: str) -> Schema:
    """A schema from its JSON text, read once.

    Raises:
        ValueError: It is none.
    """
    return Schema(json.loads(text))


def _joined(text: str) -> str:
    """Tokens such that one list occurs in another exactly where its joined form does."""
    return "\n" + "\n".join(tokens(text)) + "\n"


def _is_marks(text: str) -> bool:
    """Whether a text is nothing but punctuation, which is no token beside words."""
    return all(unicodedata.category(char)[0] == "P" and char != "%" for char in text.strip())


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")


_NOTHING_EXPECTED = Finding(None, "there is no expected answer", Unscored.NOT_CHECKABLE)
