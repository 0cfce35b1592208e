"""The same model through `/completions`: it continues a text as it stands, or says how likely it is."""

import json
from collections.abc import Sequence
from typing import Any

from judges.clients import CallBodyError, Reply, as_count, as_text, error_text
from judges.completion import finish_of
from judges.echo import EchoedToken, read_echo
from judges.endpoint import given
from judges.openai_client import OpenAIClient
from judges.settings import Settings

_TEXT = "/completions"


class TextClient:
    """Talks to `/completions` over the connection, the bounds and the patience of a client of the chat API."""

    def __init__(self, client: OpenAIClient) -> None:
        self._client = client
        self._settings = Settings()

    async def echo(self, prompt: str) -> list[EchoedToken]:
        """The tokens of a prompt with their log-probabilities.

        Raises:
            NoEchoError: The endpoint does not give them.
            CallError: There is no answer, after bounded retries.
        """
        # llama-cpp-python takes 0 for no limit and vLLM refuses it: one token is written, and left out here.
        body: dict[str, Any] = {"model": self._client.model, "prompt": prompt}
        body |= {"echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}

        async def attempt() -> list[EchoedToken]:
            return read_echo(await self._client.post(_TEXT, body), prompt)

        return await self._client.endpoint.make(attempt, size=len(prompt.encode("utf-8", "replace")))

    async def write(
        self,
        prompt: str,
        *,
        max_tokens: int,
        temperature: float,
        top_p: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Reply:
        """What the model writes behind a prompt; as `judges.clients.Client.complete` otherwise.

        Raises:
            CallError: There is no reply, after bounded retries.
        """
        wanted = given(max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed, stop=[*stop] or None)
        body = {"model": self._client.model, "prompt": prompt}
        size = len(prompt.encode("utf-8", "replace"))
        return await self._client.write(_TEXT, body, wanted, self._settings, read_text, size=size)


def read_text(body: str, notes: tuple[str, ...] = ()) -> Reply:
    """A reply from the body of a success status.

    Raises:
        CallBodyError: It is no completion.
    """
    try:
        answer = json.loads(body)
        choice = dict(answer["choices"][0])
        text = choice["text"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise CallBodyError(f"the body is no completion: {error_text(body, 100)}") from None
    usage = answer["usage"] if isinstance(answer.get("usage"), dict) else {}
    return Reply(
        text=as_text(text),
        finish=finish_of(choice),
        prompt_tokens=as_count(usage.get("prompt_tokens")),
        output_tokens=as_count(usage.get("completion_tokens")),
        served_model=as_text(answer.get("model")),
        notes=notes,
    )
