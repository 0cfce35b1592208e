"""A judge that is one of our own checkpoints, or a model of the hub, in this process."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from finetune.instructions import Entry, Message
from harness.checkpoints import Target, resolve
from harness.endpoints import readable
from harness.errors import HarnessError
from harness.native_answers import write_native
from harness.reasoning import split
from harness.respond import AnswerSettings, Asked, style_of
from harness.system_message import check_place

if TYPE_CHECKING:
    from finetune.reading.conversation import Role
    from finetune.segments import Style
    from judges.catalog import JudgeOptions
    from judges.clients import Reply
    from judges.llm import LLMJudge
    from judges.local_client import Question

SIDE_BY_SIDE = 32  # prompts that are answered together
_FINISHES = {"stop": "stop", "length": "length", "context": "length", "thinking": "length"}


def local_judge(reference: str, options: "JudgeOptions") -> "LLMJudge":
    """A judge that a folder or hub name stands for; it is loaded when it is first asked.

    Raises:
        HarnessError: If it cannot be found, or stands for several.
        FinetuneError: If its files cannot be read.
    """
    from judges.llm import Form, LLMJudge
    from judges.local_client import LocalClient
    from judges.rubric import load_rubric

    target = _target(reference)
    identity = {"api": "local", "model": target.record.name, "version": target.record.fingerprint}
    client = LocalClient(target.record.name, _Answerer(target), identity=identity, concurrency=SIDE_BY_SIDE)
    # Nothing makes it keep to a schema, and finding that out would be two long replies.
    settings = replace(options.settings, form=Form.TEXT)
    return LLMJudge(client, load_rubric(options.rubric), settings, options.meter)


@cache
def _target(reference: str) -> Target:
    """The one model a reference stands for; its weights are read through for their hash, and that once."""
    targets = resolve([reference])
    if len(targets) != 1:
        names = ", ".join(target.record.name for target in targets)
        raise HarnessError(f"--judge {reference}: wanted one model, found {len(targets)} ({names}); name one of them")
    return targets[0]


class _Answerer:
    """Answers batches of questions; the model is loaded with the first."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._write: Callable[..., None] | None = None

    def __call__(self, questions: "Sequence[Question]") -> "list[Reply]":
        by_settings: dict[AnswerSettings, list[int]] = {}
        for place, question in enumerate(questions):
            by_settings.setdefault(_settings(question), []).append(place)
        replies: dict[int, Reply] = {}
        for settings, places in by_settings.items():
            found = self._answer([questions[place] for place in places], settings)
            replies |= dict(zip(places, found, strict=True))
        return [replies[place] for place in range(len(questions))]

    def _answer(self, questions: "Sequence[Question]", settings: AnswerSettings) -> "list[Reply]":
        style = style_of(self._target, settings)
        assert style is not None, "an endpoint has a client of its own"
        asked = [_asked(question, style) for question in questions]
        places = {id(one): place for place, one in enumerate(asked)}
        replies: dict[int, Reply] = {}

        def keep(one: Asked, **answer: Any) -> None:
            replies[places[id(one)]] = _reply(answer)

        self._loaded(settings)(asked, settings, style, keep)
        return [replies[place] for place in range(len(asked))]

    def _loaded(self, settings: AnswerSettings) -> Callable[..., None]:
        if self._write is None:
            if self._target.kind == "transformers":
                from harness.foreign.answers import load, write_foreign

                foreign = load(self._target, settings)
                self._write = lambda *asked: write_foreign(foreign, *asked)
            else:
                native = self._target.load(device=settings.device, dtype=settings.dtype, prepacked=True)
                self._write = lambda *asked: write_native(native, *asked)
        return self._write


def _settings(question: "Question") -> AnswerSettings:
    return AnswerSettings(
        max_new_tokens=question.asking.max_tokens,
        temperature=question.asking.temperature,
        top_p=question.asking.top_p or 1.0,
        seed=question.asking.seed or 0,
        batch_size=SIDE_BY_SIDE,
    )


def _asked(question: "Question", style: "Style") -> Asked:
    """The conversation in the judge's style; a system message goes into the first turn where it has no place."""
    text = readable(question.messages)
    item = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    turns = [Message(cast("Role", message["role"]), message["content"]) for message in question.messages]
    if turns[0].role == "system" and not _has_place(style):
        turns[:2] = [Message("user", f"{turns[0].content}\n\n{turns[1].content}")]
    if len(turns) == 1:
        return Asked(Entry(item_id=item, instruction=turns[0].content), 0, text, item)
    return Asked(Entry(item_id=item, instruction=turns[-1].content, messages=tuple(turns)), 0, text, item)


def _has_place(style: "Style") -> bool:
    try:
        check_place(style, "?", style.name)
    except HarnessError:
        return False
    return True


def _reply(answer: dict[str, Any]) -> "Reply":
    from judges.clients import Reply

    reasoning, text, ended = split(answer["text"], answer["stop_reason"])
    return Reply(
        text=text,
        reasoning=reasoning or "",
        finish=_FINISHES.get(ended, "unknown"),  # type: ignore[arg-type]
        prompt_tokens=answer["prompt_tokens"],
        output_tokens=answer["output_tokens"],
        prompt_cut=answer["truncated"],
    )
