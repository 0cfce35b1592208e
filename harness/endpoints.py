"""Answers from endpoints: the clients of `judges`, asked as checkpoints."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from finetune.instructions import Entry
from harness.checkpoints import Reference, Target
from harness.errors import HarnessError
from harness.pool import run_pool
from harness.records import JSON

if TYPE_CHECKING:
    from harness.respond import AnswerSettings, Asked
    from judges.base import Message
    from judges.clients import CallError, Client, Reply


def chat_messages(entry: Entry) -> "list[Message]":
    """The turns before the answer, as chat APIs want them."""
    return [{"role": turn.role, "content": turn.content} for turn in entry.asked]


def readable(messages: "Sequence[Message]") -> str:
    """Messages for people: each behind its role, a line between."""
    return "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in messages)


def ask_endpoint(
    target: Target, todo: "Sequence[Asked]", settings: "AnswerSettings", keep: Callable[..., None]
) -> None:
    """Ask an endpoint for every answer wanted and keep each as it comes; a failed one is kept as failed.

    Raises:
        JudgeError: If the endpoint is not there, or serves another model.
        HarnessError: If the connection was lost for good; what came before is kept.
    """
    if not asyncio.run(_ask_all(target, todo, settings, keep)):
        raise HarnessError(f"{target.reference.text} is gone; run the same command again to go on where it was")


async def _ask_all(
    target: Target, todo: "Sequence[Asked]", settings: "AnswerSettings", keep: Callable[..., None]
) -> bool:
    from judges.clients import Asking, CallConnectionError, CallError

    client = client_for(target.reference, settings.concurrency)

    async def ask(one: "Asked") -> "Reply | CallError":
        try:
            asking = Asking(
                max_tokens=settings.max_new_tokens,
                temperature=settings.temperature,
                top_p=settings.top_p if settings.temperature else None,
                seed=settings.seed + one.sample,
            )
            return await client.complete(chat_messages(one.entry), asking)
        except CallError as error:
            return error

    def done(one: "Asked", answer: "Reply | CallError") -> None:
        if isinstance(answer, CallError):
            keep(one, text=None, failure=str(answer))
        else:
            keep(one, **_answered(answer))

    try:
        await client.check()
        return await run_pool(
            todo, ask, done, concurrency=client.concurrency, lost=lambda a: isinstance(a, CallConnectionError)
        )
    finally:
        await client.close()


def client_for(reference: Reference, concurrency: int) -> "Client":
    """What talks to an endpoint, within one event loop."""
    from judges.address import ollama_address, openai_address
    from judges.ollama_client import OllamaClient
    from judges.openai_client import OpenAIClient

    if reference.scheme == "ollama":
        return OllamaClient(reference.target, ollama_address(reference.address), concurrency=concurrency)
    return OpenAIClient(reference.target, openai_address(reference.address), concurrency=concurrency)


def _answered(reply: "Reply") -> dict[str, JSON]:
    thinking = reply.finish == "length" and reply.reasoning and not reply.text
    return {
        "text": reply.text or reply.refusal,
        "reasoning": reply.reasoning or None,
        "stop_reason": "thinking" if thinking else reply.finish,
        "truncated": reply.prompt_cut,
        "prompt_tokens": reply.prompt_tokens,
        "output_tokens": reply.output_tokens,
        "seconds": reply.seconds,
    }
