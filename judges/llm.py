"""A judge that is a language model: one answer at a time, against a rubric."""

from dataclasses import dataclass, field

from judges.base import JSON, Judgment, Message, Submission, Unscored, canonical_hash
from judges.clients import (
    CallConnectionError,
    CallError,
    CallTimeoutError,
    Client,
    PromptTooLongError,
    Reply,
)
from judges.parse import Reading, read_reply, without_thinking
from judges.prompts import Rubric

_ASKED_AGAIN = frozenset({Unscored.UNREADABLE, Unscored.OUT_OF_RANGE, Unscored.EMPTY, Unscored.TRUNCATED})
_SCHEMA_IGNORED = "the endpoint ignores the JSON schema: the score was read from text"


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """How the judge is asked; each of these changes its fingerprint."""

    max_tokens: int = 1024
    """Room for the reasons and the score."""
    temperature: float = 0.0
    seed: int = 0
    use_schema: bool = True
    """Send a JSON schema of the reply; endpoints without one read the format from the prompt."""


class LLMJudge:
    """Scores one answer at a time with a language model.

    An empty answer gets the lowest score without a call. A reply that cannot be read is asked for once more with
    a reminder of the format; what fails then is unscored, with its reason.
    """

    def __init__(self, client: Client, rubric: Rubric, settings: JudgeSettings | None = None) -> None:
        self._client = client
        self._rubric = rubric
        self._settings = settings or JudgeSettings()

    @property
    def name(self) -> str:
        """The model's name."""
        return self._client.model

    @property
    def rubric(self) -> str:
        """Name and version of the rubric."""
        return self._rubric.id

    @property
    def scale(self) -> tuple[float, float]:
        """Lowest and highest score."""
        return float(self._rubric.scale[0]), float(self._rubric.scale[1])

    @property
    def concurrency(self) -> int:
        """The most calls in flight."""
        return self._client.concurrency

    @property
    def fingerprint(self) -> str:
        """Hash of endpoint, model, its version, and the settings; final once `check` has returned."""
        return canonical_hash({"client": self._client.identity(), "settings": self._settings_as_json()})

    def request(self, submission: Submission) -> dict[str, JSON]:
        """The first messages with all settings. What an endpoint refuses of these is not known here."""
        return {
            "messages": self._rubric.messages(submission),
            "reminder": self._rubric.reminder_message(),
            "settings": self._settings_as_json(),
        }

    async def check(self) -> list[str]:
        """Find out whether the model is there; returns warnings, raises JudgeError."""
        return await self._client.check()

    async def judge(self, submission: Submission) -> Judgment:
        """Judge one submission; failures are values."""
        if not submission.answer.strip():
            return Judgment(score=self.scale[0], explanation="The answer is empty: lowest score, judge not asked.")
        talk = _Talk(list(self._rubric.messages(submission)))
        try:
            return await self._converse(talk)
        except CallError as error:
            talk.seconds += error.seconds
            return talk.unscored(_reason(error), str(error))

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()

    async def _converse(self, talk: "_Talk") -> Judgment:
        verdict = await self._ask(talk)
        if verdict.reason in _ASKED_AGAIN and not talk.cut:
            talk.messages += [talk.as_said(), self._rubric.reminder_message()]
            verdict = await self._ask(talk)
        if verdict.score is None:
            return talk.unscored(verdict.reason or Unscored.UNREADABLE, verdict.detail)
        if verdict.form == "text" and self._settings.use_schema and not any("schema" in n for n in talk.notes):
            talk.notes += (_SCHEMA_IGNORED,)
        return talk.scored(verdict)

    async def _ask(self, talk: "_Talk") -> Reading:
        talk.calls += 1
        reply = await self._client.complete(
            talk.messages,
            max_tokens=self._settings.max_tokens,
            temperature=self._settings.temperature,
            seed=self._settings.seed,
            schema=self._rubric.schema_for_reply() if self._settings.use_schema else None,
        )
        talk.add(reply)
        return _read(reply, self.scale)

    def _settings_as_json(self) -> dict[str, JSON]:
        schema = self._rubric.schema_for_reply() if self._settings.use_schema else None
        return {
            "max_tokens": self._settings.max_tokens,
            "temperature": self._settings.temperature,
            "seed": self._settings.seed,
            "schema": schema,
        }


def _read(reply: Reply, scale: tuple[float, float]) -> Reading:
    """The score in a reply, unless the endpoint itself says that it is none."""
    if reply.prompt_cut:
        return Reading(reason=Unscored.TRUNCATED, detail="the endpoint cut the prompt to fit its context")
    if reply.finish == "length":
        # What stands last is the score, and half a score reads like another one.
        return Reading(reason=Unscored.TRUNCATED, detail="the reply was cut off at its limit of tokens")
    if reply.finish == "refused":
        return Reading(reason=Unscored.REFUSED, detail=reply.refusal[:200] or "stopped by the endpoint's filter")
    return read_reply(reply.text, scale)


def _reason(error: CallError) -> Unscored:
    if isinstance(error, CallTimeoutError):
        return Unscored.TIMEOUT
    if isinstance(error, CallConnectionError):
        return Unscored.CONNECTION
    if isinstance(error, PromptTooLongError):
        return Unscored.TRUNCATED
    return Unscored.ERROR


@dataclass
class _Talk:
    """One conversation with the judge, and what it has cost so far."""

    messages: list[Message]
    raw: str = ""
    calls: int = 0
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float = 0.0
    cut: bool = False
    notes: tuple[str, ...] = field(default=())

    def add(self, reply: Reply) -> None:
        self.raw = reply.text
        self.prompt_tokens = _sum(self.prompt_tokens, reply.prompt_tokens)
        self.output_tokens = _sum(self.output_tokens, reply.output_tokens)
        self.seconds += reply.seconds
        self.cut = reply.prompt_cut or reply.finish == "length"
        self.notes = reply.notes

    def as_said(self) -> Message:
        """The last reply as a turn of the conversation: thinking goes, and no API takes an empty turn."""
        return {"role": "assistant", "content": without_thinking(self.raw)[0].strip() or "(no reply)"}

    def scored(self, verdict: Reading) -> Judgment:
        return self._judgment(score=verdict.score, explanation=verdict.explanation)

    def unscored(self, reason: Unscored, detail: str) -> Judgment:
        return self._judgment(reason=reason, detail=detail)

    def _judgment(
        self,
        *,
        score: float | None = None,
        reason: Unscored | None = None,
        detail: str = "",
        explanation: str = "",
    ) -> Judgment:
        return Judgment(
            score=score,
            reason=reason,
            detail=detail,
            explanation=explanation,
            raw=self.raw,
            messages=tuple(self.messages),
            calls=self.calls,
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            seconds=self.seconds,
            notes=self.notes,
        )


def _sum(total: int | None, more: int | None) -> int | None:
    return total if more is None else (total or 0) + more
