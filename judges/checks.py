"""The judge that checks answers without a model: equal, contained, a pattern, a number, JSON."""

import json
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from judges.base import JSON, JudgeError, Judgment, Submission, Unscored, canonical_hash
from judges.check_kinds import Check, Contains, Exact, IsJson
from judges.entry_checks import checks_of_entry, number_check, pattern_check, schema_check

FORM = (
    "check:exact, check:contains, check:regex:PATTERN, check:number[:0.1|:1%], check:json[:SCHEMA.json] or check:meta"
)
_VERSION = "v1"


class CheckJudge:
    """Scores an answer 100 where a check holds and 0 where it does not.

    A check that cannot be made (an entry that names none, no expected answer, a pattern that takes too long) is
    no score. The explanation says what was found, and what was wanted.
    """

    name = "check"
    scale = (0.0, 100.0)
    pairwise = False
    form = ""
    concurrency = 1

    def __init__(self, kind: str, check: Check | None) -> None:
        """A judge.

        Args:
            kind: What it is called in tables and file names.
            check: What every answer is checked for; None for what its entry names.
        """
        self.rubric = f"{kind}-{_VERSION}"
        self._check = check

    @cached_property
    def fingerprint(self) -> str:
        """Hash of kind, parameters and version."""
        return canonical_hash(self._identity())

    @property
    def needs_expected(self) -> bool:
        """Whether nothing can be checked without an expected answer."""
        return self._check is not None and self._check.needs_expected

    def request(self, submission: Submission, *, repeat: int = 0) -> dict[str, JSON]:
        """All that decides the score: the check, the answer, and the expected one where that may be compared."""
        made: dict[str, JSON] = {"judge": self._identity(), "answer": submission.answer}
        if self._check is None:
            made["check"] = dict(submission.check)
        if self._check is None or self._check.needs_expected:
            made["expected"] = submission.expected
        return made

    async def check(self) -> list[str]:
        """Nothing can be amiss; what an entry names is looked at by `problems`."""
        return []

    async def judge(self, submission: Submission, *, repeat: int = 0) -> Judgment:
        """Check the answer."""
        try:
            checks = [self._check] if self._check else _parsed(submission.check)
        except JudgeError as error:
            return Judgment(reason=Unscored.NOT_CHECKABLE, detail=str(error))
        findings = [check.find(submission.answer, submission.expected) for check in checks]
        if not findings:
            return Judgment(reason=Unscored.NOT_CHECKABLE, detail="the entry names no check")
        said = "; ".join(finding.said for finding in findings)
        # One that fails decides, whatever the others would have said.
        open_ = next((finding for finding in findings if finding.holds is None), None)
        if open_ is not None and all(finding.holds is not False for finding in findings):
            return Judgment(reason=open_.reason, detail=open_.said, explanation=said)
        return Judgment(score=100.0 if all(finding.holds for finding in findings) else 0.0, explanation=said)

    async def close(self) -> None:
        """Nothing is open."""

    def _identity(self) -> dict[str, JSON]:
        return {"check": self.rubric, **({"with": self._check.identity()} if self._check else {})}


def check_judge(rest: str) -> CheckJudge:
    """The judge that a reference names.

    Args:
        rest: What follows `check:`; see `FORM`.

    Raises:
        JudgeError: An unknown kind, or a parameter that is not as wanted.
    """
    kind, colon, parameter = rest.partition(":")
    if kind not in REFERENCES:
        near = get_close_matches(kind, REFERENCES, n=1)
        hint = f"; did you mean check:{near[0]}?" if near else ""
        raise JudgeError(f"unknown check {kind!r}: wanted {FORM}{hint}")
    if colon and not parameter:
        raise JudgeError(f"check:{rest}: wanted something after the last colon, found nothing; wanted {FORM}")
    try:
        return REFERENCES[kind](parameter)
    except ValueError as error:
        raise JudgeError(f"check:{kind}: {error}") from None


def read_check(raw: Any) -> dict[str, JSON]:
    """What an entry names under `check`: an object, or one written as JSON, as tables have it.

    Returns:
        What `Submission.check` takes; empty for None and for an empty text.

    Raises:
        JudgeError: It is neither; one line.
    """
    value = raw
    if isinstance(raw, str) and raw.strip():
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            value = raw
    if value is None or value == "":
        return {}
    if not isinstance(value, Mapping):
        raise JudgeError(f'check: wanted an object such as {{"contains": ["Paris"]}}, found {raw!r:.60}')
    return {str(kind): wanted for kind, wanted in value.items()}


def problems(raw: Any) -> str | None:
    """What is wrong with the check that an entry names, in one line; None where nothing is.

    Args:
        raw: As in the entry's `meta["check"]`; None where there is none.
    """
    try:
        _parsed(read_check(raw))
    except JudgeError as error:
        return str(error)
    return None


def _parsed(check: Mapping[str, JSON]) -> list[Check]:
    try:
        return checks_of_entry(check)
    except ValueError as error:
        raise JudgeError(f"check: {error}") from None


def _alone(kind: str, check: Check | None) -> Callable[[str], CheckJudge]:
    """A kind that takes no parameter."""

    def build(parameter: str) -> CheckJudge:
        if parameter:
            raise ValueError(f"wanted nothing after it, found {parameter!r:.40}")
        return CheckJudge(kind, check)

    return build


def _regex(pattern: str) -> CheckJudge:
    if not pattern:
        raise ValueError("wanted a pattern, as in check:regex:^Yes")
    check = pattern_check(pattern)
    return CheckJudge(f"regex-{canonical_hash(pattern)[:6]}", check)


def _number(tolerance: str) -> CheckJudge:
    check = number_check(True, tolerance or None)
    within = str(check.tolerance).replace("%", "pct").replace("+", "")
    return CheckJudge(f"number-within-{within}" if tolerance else "number", check)


def _json(file: str) -> CheckJudge:
    if not file:
        return CheckJudge("json", IsJson())
    try:
        raw = json.loads(Path(file).read_text("utf-8-sig"))
    except OSError as error:
        raise ValueError(f"wanted a JSON Schema at {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not JSON: {error}") from None
    try:
        return CheckJudge(f"json-{canonical_hash(raw)[:6]}", schema_check(raw))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


REFERENCES: dict[str, Callable[[str], CheckJudge]] = {
    "exact": _alone("exact", Exact()),
    "contains": _alone("contains", Contains()),
    "regex": _regex,
    "number": _number,
    "json": _json,
    "meta": _alone("meta", None),
}
