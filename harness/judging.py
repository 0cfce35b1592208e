"""A judge by its reference, under the name the user gives it."""

import asyncio
from typing import TYPE_CHECKING

from harness.checkpoints import split_alias
from harness.errors import HarnessError

if TYPE_CHECKING:
    from judges.base import Judge


def named_judge(text: str, *, concurrency: int) -> "tuple[str | None, Judge]":
    """Alias (or None) and judge of `[ALIAS=]REFERENCE`.

    Raises:
        JudgeError: If there is no such judge, or its address cannot be used.
        HarnessError: If nothing is named.
    """
    from judges.catalog import JudgeOptions, judge_from_reference

    if not text.strip():
        raise HarnessError("--judge: wanted reference, openai:MODEL@URL, ollama:MODEL or scripted:FILE, found nothing")
    alias, reference = split_alias(text)
    return alias, judge_from_reference(reference, JudgeOptions(concurrency=concurrency))


def refuse_unusable(text: str) -> None:
    """Find out at the start whether a judge can be used, with a judge of its own: one serves one event loop.

    Raises:
        JudgeError: If it cannot: down, unauthorised, another model.
    """
    _, judge = named_judge(text, concurrency=1)

    async def ask() -> None:
        try:
            await judge.check()
        finally:
            await judge.close()

    asyncio.run(ask())
