"""An endpoint as benchmarks talk to it: the clients of `judges`, in the words of `benchmarks.connection`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from harness.checkpoints import Reference
from harness.endpoints import client_for
from harness.errors import HarnessError
from harness.pool import run_pool
from harness.reasoning import THINKING, split

if TYPE_CHECKING:
    from benchmarks.connection import Messages, Wanted, Written
    from benchmarks.endpoint_lm import Outcome, Pool
    from judges.clients import CallError, Client, Reply
    from judges.echo import EchoedToken
    from judges.text_client import TextClient

_MOST_STOPS = 4  # OpenAI's own API takes no more
_SAMPLE = "The capital of France is Paris."
_PASSING = (401, 403, 408, 409, 425, 429)  # says nothing of what the endpoint can do


class EndpointConnection:
    """One endpoint, within one event loop; see `benchmarks.connection.Connection`."""

    def __init__(self, client: "Client", text: "TextClient | None"):
        """`text` continues and scores texts, where the endpoint has an API for that."""
        self._client, self._text = client, text
        self._thinks = False

    async def score(self, text: str) -> "list[EchoedToken]":
        """The tokens of a text.

        Raises:
            EndpointFailure: There is no answer.
        """
        from judges.clients import CallError

        assert self._text is not None, "an endpoint without this API scores nothing"
        try:
            return await self._text.echo(text)
        except CallError as error:
            raise _failure(error) from None

    async def write(self, prompt: "str | Messages", wanted: "Wanted") -> "Written":
        """What comes after a text, or after messages, thinking apart.

        Stop strings are for the answer: a reply that ended in its thinking because it met one there is asked for
        again without, as are all further ones.

        Raises:
            EndpointFailure: There is no answer.
        """
        written, cut_short = await self._write(prompt, wanted, () if self._thinks else wanted.until[:_MOST_STOPS])
        if cut_short:
            self._thinks = True
            written, _ = await self._write(prompt, wanted, ())
        return written

    async def _write(self, prompt: "str | Messages", wanted: "Wanted", stop: tuple[str, ...]) -> "tuple[Written, bool]":
        """What was written, and whether a stop string may have ended it before the answer began."""
        from benchmarks.connection import Written
        from judges.clients import CallError

        try:
            reply = await self._ask(prompt, wanted, stop)
        except CallError as error:
            raise _failure(error) from None
        reasoning, text, ended = split(reply.text or reply.refusal, reply.finish)
        reasoning = reply.reasoning or reasoning
        unfinished = bool(reasoning) and not text
        if unfinished and reply.finish == "length":
            ended = THINKING
        met_stop = unfinished and bool(stop) and reply.finish != "length"
        return Written(text, ended, reasoning, reply.output_tokens), met_stop

    async def _ask(self, prompt: "str | Messages", wanted: "Wanted", stop: tuple[str, ...]) -> "Reply":
        from judges.clients import Asking

        settings: dict[str, Any] = {
            "max_tokens": wanted.max_tokens,
            "temperature": wanted.temperature,
            "top_p": wanted.top_p,
            "seed": wanted.seed,
            "stop": stop,
        }
        if isinstance(prompt, str):
            assert self._text is not None, "an endpoint without this API is asked by messages"
            return await self._text.write(prompt, **settings)
        return await self._client.complete(prompt, Asking(**settings))


def _failure(error: "CallError") -> Exception:
    from benchmarks.connection import EndpointFailure
    from judges.clients import PromptTooLongError

    return EndpointFailure(str(error), too_long=isinstance(error, PromptTooLongError))


@asynccontextmanager
async def connected(reference: Reference, concurrency: int) -> AsyncIterator[EndpointConnection]:
    """A connection to an endpoint that is there and serves the model.

    Raises:
        JudgeError: It is not there, or does not serve it.
    """
    from judges.openai_client import OpenAIClient
    from judges.text_client import TextClient

    client = client_for(reference, concurrency)
    try:
        await client.check()
        yield EndpointConnection(client, TextClient(client) if isinstance(client, OpenAIClient) else None)
    finally:
        await client.close()


def pool_of(concurrency: int) -> "Pool":
    """Does so many jobs at once; `harness.pool.GONE_AFTER` failures in a row, of any kind, end it."""
    from benchmarks.connection import EndpointFailure

    async def pool(
        jobs: "Mapping[str, Callable[[], Awaitable[Outcome]]]", done: "Callable[[str, Outcome], None]"
    ) -> bool:
        return await run_pool(
            jobs,
            lambda key: jobs[key](),
            done,
            concurrency=concurrency,
            lost=lambda outcome: isinstance(outcome, EndpointFailure),
        )

    return pool


def lacks_scores(reference: Reference) -> str | None:
    """Why an endpoint cannot score a text, found out by asking it once; None if it can.

    Raises:
        JudgeError: It is not there, or does not serve the model.
        HarnessError: It does not answer now, so that nothing is known.
    """
    if reference.scheme == "ollama":
        return "Ollama gives no log-probabilities of a prompt"
    return asyncio.run(_probe(reference))


async def _probe(reference: Reference) -> str | None:
    from judges.clients import CallBodyError, CallError, CallStatusError
    from judges.echo import NoEchoError
    from judges.openai_client import OpenAIClient
    from judges.text_client import TextClient

    client = client_for(reference, 1)
    assert isinstance(client, OpenAIClient), "Ollama's API has no log-probabilities"
    try:
        await client.check()
        await TextClient(client).echo(_SAMPLE)
    except (NoEchoError, CallBodyError, CallStatusError) as error:
        if isinstance(error, CallStatusError) and (error.status >= 500 or error.status in _PASSING):
            raise _unknown(reference, error) from None
        return "the endpoint gives no log-probabilities of a prompt (/completions with echo)"
    except CallError as error:
        raise _unknown(reference, error) from None
    finally:
        await client.close()
    return None


def _unknown(reference: Reference, error: "CallError") -> HarnessError:
    return HarnessError(
        f"{reference.text}: whether it gives log-probabilities could not be found out ({error}); "
        f"run the same command again, or take --how generate"
    )
