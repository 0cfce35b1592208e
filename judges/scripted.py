"""The judge whose replies come from a file: for tests and dry runs."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from judges.base import JSON, JudgeError, Judgment, Message, Submission, Unscored, canonical_hash
from judges.clients import (
    CallBodyError,
    CallConnectionError,
    CallError,
    CallTimeoutError,
    Reply,
)
from judges.fields import wrong_field
from judges.llm import JudgeSettings, LLMJudge
from judges.prompts import Rubric


class ScriptedReply(BaseModel):
    """One line of a script: what the judge says, and to which submissions.

    A line without `instruction`, `expected` and `answer` is for any submission; one with some of them is for
    those that have exactly these texts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reply: str | tuple[str, ...] = ()
    """What is said; of several, the second comes after the reminder of the format."""
    fails: Unscored | None = None
    """Fail in this way instead: `timeout`, `connection`, `truncated`, `refused` or `error`."""
    instruction: str | None = None
    expected: str | None = None
    answer: str | None = None

    @field_validator("fails")
    @classmethod
    def _can_fail_so(cls, fails: Unscored | None) -> Unscored | None:
        if fails in (Unscored.UNREADABLE, Unscored.OUT_OF_RANGE, Unscored.EMPTY):
            raise ValueError(f"{fails.value!r} is what becomes of a reply: give the reply instead")
        return fails

    @model_validator(mode="after")
    def _says_something(self) -> "ScriptedReply":
        if self.reply == () and self.fails is None:
            raise ValueError("wanted a reply, or a way to fail")
        return self

    @property
    def replies(self) -> tuple[str, ...]:
        """What is said, turn by turn."""
        return (self.reply,) if isinstance(self.reply, str) else self.reply

    def is_for_any(self) -> bool:
        """Whether it names no submission."""
        return self.instruction is None and self.expected is None and self.answer is None

    def fits(self, submission: Submission) -> bool:
        """Whether it names this submission."""
        return all(
            wanted is None or wanted == given
            for wanted, given in (
                (self.instruction, submission.instruction),
                (self.expected, submission.expected),
                (self.answer, submission.answer),
            )
        )


class ScriptedClient:
    """Plays an endpoint that says what it is told to: the n-th reply to the n-th turn of a conversation."""

    model = "scripted"
    concurrency = 1

    def __init__(self, line: ScriptedReply) -> None:
        self._line = line

    def identity(self) -> dict[str, JSON]:
        """What it says."""
        return {"api": "scripted", "replies": self._line.replies, "fails": self._line.fails}

    async def check(self) -> list[str]:
        """Nothing can be amiss."""
        return []

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float,
        top_p: float | None = None,
        seed: int | None = None,
        schema: Mapping[str, JSON] | None = None,
        stop: Sequence[str] = (),
    ) -> Reply:
        """The scripted reply; the last one again where the conversation is longer than the script."""
        match self._line.fails:
            case Unscored.REFUSED:
                return Reply(text="", finish="refused", refusal="refused, as scripted")
            case Unscored.TRUNCATED:
                return Reply(text="", finish="length")
            case Unscored() as fails:
                raise _FAILURES.get(fails, CallBodyError)(f"{fails.value}, as scripted")
        turn = sum(message["role"] == "assistant" for message in messages)
        replies = self._line.replies
        return Reply(text=replies[min(turn, len(replies) - 1)])

    async def close(self) -> None:
        """Nothing is open."""


_FAILURES: dict[Unscored, type[CallError]] = {
    Unscored.TIMEOUT: CallTimeoutError,
    Unscored.CONNECTION: CallConnectionError,
}


class ScriptedJudge:
    """Sends the real prompt to a scripted endpoint and reads its reply with the real parser.

    Which line answers depends on the submission alone, never on order or time: the first that names it; else of
    those for any submission the one that a hash of the submission picks. So it is the same under concurrency and
    after a resume.
    """

    def __init__(self, name: str, lines: Sequence[ScriptedReply], rubric: Rubric) -> None:
        self._lines = tuple(lines)
        self._for_any = tuple(line for line in lines if line.is_for_any())
        self._rubric = rubric
        self.name = name
        self.rubric = rubric.id
        self.scale = (float(rubric.scale[0]), float(rubric.scale[1]))
        self.concurrency = 8
        self.fingerprint = canonical_hash([line.model_dump(mode="json") for line in self._lines])

    def request(self, submission: Submission) -> dict[str, JSON]:
        """The prompt, and what will be said to it."""
        line = self._line_for(submission)
        said: dict[str, JSON] = {"replies": line.replies, "fails": line.fails} if line else {"replies": None}
        return {"messages": self._rubric.messages(submission), **said}

    async def check(self) -> list[str]:
        """Warns of submissions that may find no reply."""
        if self._for_any:
            return []
        return [f"{self.name} has replies for named submissions only: others stay unscored"]

    async def judge(self, submission: Submission) -> Judgment:
        """Have the scripted endpoint judge one submission."""
        line = self._line_for(submission)
        if line is None:
            return Judgment(reason=Unscored.ERROR, detail="the script has no reply for this submission")
        client = ScriptedClient(line)
        return await LLMJudge(client, self._rubric, JudgeSettings(use_schema=False)).judge(submission)

    async def close(self) -> None:
        """Nothing is open."""

    def _line_for(self, submission: Submission) -> ScriptedReply | None:
        for line in self._lines:
            if not line.is_for_any() and line.fits(submission):
                return line
        if not self._for_any:
            return None
        texts = [submission.instruction, submission.expected, submission.answer]
        digest = hashlib.sha256(json.dumps(texts).encode()).digest()
        return self._for_any[int.from_bytes(digest[:8]) % len(self._for_any)]


def read_script(path: Path) -> list[ScriptedReply]:
    """Read a script: a JSON list or JSONL, of strings or of objects with the fields of `ScriptedReply`.

    Raises:
        JudgeError: No file, not JSON (with the place), a wrong field, or no replies at all.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except IsADirectoryError:
        raise JudgeError(f"{path} is a directory: wanted a file of scripted replies") from None
    except FileNotFoundError:
        raise JudgeError(f"no file {path}: wanted a file of scripted replies, JSON or JSONL") from None
    except (OSError, UnicodeDecodeError) as error:
        raise JudgeError(f"{path} cannot be read as a file of scripted replies: {error}") from None
    values = _json_list(text, path) if text.lstrip().startswith("[") else _json_lines(text, path)
    if not values:
        raise JudgeError(f"{path} holds no replies: wanted at least one")
    return [_line(value, f"{path}, reply {number}") for number, value in enumerate(values, 1)]


def _json_list(text: str, path: Path) -> list[Any]:
    try:
        values: list[Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JudgeError(f"{path}: not JSON: {error}") from None
    return values


def _json_lines(text: str, path: Path) -> list[Any]:
    values = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            values += [json.loads(line)] if line.strip() else []
        except (ValueError, RecursionError) as error:
            raise JudgeError(f"{path}, line {number}: not JSON: {error}") from None
    return values


def _line(value: Any, place: str) -> ScriptedReply:
    try:
        return ScriptedReply.model_validate({"reply": value} if isinstance(value, str) else value)
    except ValidationError as error:
        raise JudgeError(f"{place}: {wrong_field(error, ScriptedReply)}") from None
