"""One model behind an OpenAI-compatible endpoint."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from judges.address import Address, hide_credentials
from judges.base import JSON, JudgeError, Message
from judges.calls import Calls, Patience
from judges.clients import (
    CallBodyError,
    CallConnectionError,
    CallError,
    CallStatusError,
    CallTimeoutError,
    PromptTooLongError,
    Reply,
    error_text,
)
from judges.completion import listed_models, read_completion
from judges.served import not_served, served_name
from judges.settings import Settings, fitted
from judges.transport import connect, describe

if TYPE_CHECKING:
    import httpx2
    import openai

_TOO_LONG = re.compile(
    r"context[ _](?:length|size|window)|maximum context|exceed\w* (?:the )?(?:available )?context"
    r"|prompt is too long|too many tokens|input (?:is |length )?(?:too long|exceeds)",
    re.IGNORECASE,
)


T = TypeVar("T")
Fetch: TypeAlias = "Callable[[Callable[[openai.AsyncOpenAI], Awaitable[_Raw]]], Awaitable[str]]"


class _Raw(Protocol):
    @property
    def http_response(self) -> "httpx2.Response": ...


class OpenAIClient:
    """Talks to `/chat/completions` through the official client.

    Retries, deadlines and the bound on calls in flight are ours (`judges.calls`), the same for every endpoint.
    """

    def __init__(
        self,
        model: str,
        address: Address,
        *,
        concurrency: int = 8,
        patience: Patience | None = None,
        transport: "httpx2.AsyncBaseTransport | None" = None,
    ) -> None:
        self.model = model
        self.address = address
        self.concurrency = concurrency
        self._patience = patience or Patience()
        self._transport = transport
        self._calls = Calls(concurrency, self._patience)
        self._questions = Calls(1, self._patience.for_check())
        self._settings = Settings()
        self._version: JSON = None
        self._sdk: openai.AsyncOpenAI | None = None

    def identity(self) -> dict[str, JSON]:
        """Address, model and what the list of models reveals about it."""
        return {"api": "openai", "address": self.address.url, "model": self.model, "version": self._version}

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
        """Ask for the next message; see `judges.clients.Client.complete`.

        A setting that the endpoint refuses is left out from then on and named in the reply's notes.
        """
        wanted = {
            "max_tokens": max_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "seed": seed,
            "schema": schema,
            "stop": [*stop] or None,
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        self._connected()  # its slow import must not count against the deadline of the first call

        async def send(fields: dict[str, Any]) -> Reply:
            body: dict[str, Any] = {"model": self.model, "messages": list(messages), **fields}
            text = await self._fetch(lambda sdk: sdk.chat.completions.with_raw_response.create(**body))
            return read_completion(text, self._settings.notes())

        reply, seconds = await self._calls.make(lambda: fitted(self._settings, given, send))
        return replace(reply, seconds=seconds)

    async def make(self, attempt: "Callable[[Fetch], Awaitable[T]]") -> tuple[T, float]:
        """Have another of the endpoint's APIs asked, within this client's bounds, deadlines and retries.

        Args:
            attempt: Is given what turns a call of the official client into the body of a success status.

        Raises:
            CallError: The last one, after bounded retries.
        """
        self._connected()
        return await self._calls.make(lambda: attempt(self._fetch))

    async def check(self) -> list[str]:
        """Ask for the list of models.

        Returns:
            Warnings: no list of models, a key that crosses a network in clear.

        Raises:
            JudgeError: No key for OpenAI, nothing answers, the key is refused, or the model is not served.
        """
        if self.address.is_openai and self.address.key is None:
            raise JudgeError(f"openai:{self.model} needs a key: set {self.address.key_variable}")
        warnings = []
        if self.address.sends_key_in_clear:
            warnings.append(f"the key in {self.address.key_variable} goes unencrypted to {self.address.url}")
        self._connected()
        try:
            text, _ = await self._questions.make(lambda: self._fetch(lambda sdk: sdk.models.with_raw_response.list()))
        except CallError as error:
            return [*warnings, self._without_list(error)]
        return [*warnings, *self._find_model(text)]

    def _without_list(self, error: CallError) -> str:
        """A warning where an endpoint may still be of use.

        Raises:
            JudgeError: It cannot be.
        """
        url = self.address.url
        status = error.status if isinstance(error, CallStatusError) else None
        if status in (404, 405, 501):
            return f"{url} has no list of models: whether it serves {self.model} shows at the first call"
        if status == 429:
            return f"{url} is busy ({error}): whether it serves {self.model} shows at the first call"
        if status in (401, 403):
            what = "refuses the key" if self.address.key else "wants a key"
            raise JudgeError(f"{url} {what} ({error}): set {self.address.key_variable}")
        if isinstance(error, CallConnectionError | CallTimeoutError):
            raise JudgeError(f"nothing answers at {url} ({error}): start the server, or correct the address")
        raise JudgeError(f"{url} cannot be used ({error})")

    def _find_model(self, text: str) -> list[str]:
        """Look for the model in the list; keep what the list reveals about it."""
        try:
            models = listed_models(text)
        except ValueError:
            raise JudgeError(
                f"{self.address.url} answers, but not with a list of models ({error_text(text, 60)}): is this the "
                "base address of an OpenAI-compatible API? It usually ends in /v1"
            ) from None
        if not models:
            return [f"{self.address.url} lists no models: whether it serves {self.model} shows at the first call"]
        name = served_name(self.model, list(models))
        if name is None:
            raise JudgeError(not_served(self.model, self.address.url, list(models)))
        self._version = models[name]
        return []

    async def close(self) -> None:
        """Let go of connections."""
        if self._sdk is not None:
            await self._sdk.close()
            self._sdk = None

    async def _fetch(self, call: "Callable[[openai.AsyncOpenAI], Awaitable[_Raw]]") -> str:
        """The body of a success status.

        Raises:
            CallError: There is none.
        """
        import openai

        try:
            response = await call(self._connected())
            return self.address.redact(response.http_response.text)
        except openai.APIStatusError as error:
            raise self._status_error(error.response) from None
        except openai.APITimeoutError:
            raise CallTimeoutError(f"no complete reply within {self._patience.timeout:g} s") from None
        except openai.APIConnectionError as error:
            raise CallConnectionError(self.address.redact(describe(error))) from None
        except (openai.OpenAIError, ValueError) as error:
            raise CallBodyError(self.address.redact(describe(error))) from None

    def _status_error(self, response: "httpx2.Response") -> CallStatusError:
        body = self.address.redact(response.text)
        detail = error_text(body)
        if location := response.headers.get("location"):
            detail = f"the address has moved to {hide_credentials(self.address.redact(location))}"
        too_long = response.status_code in (400, 413, 422, 500) and _TOO_LONG.search(detail)
        kind = PromptTooLongError if too_long else CallStatusError
        return kind(response.status_code, detail, headers=response.headers, body=body)

    def _connected(self) -> "openai.AsyncOpenAI":
        import openai

        if self._sdk is None:
            self._sdk = openai.AsyncOpenAI(
                # Without a key the client would take OPENAI_API_KEY, whatever the address.
                api_key=self.address.key or "none",
                base_url=self.address.url,
                max_retries=0,
                http_client=connect(self.address, self._patience, self._transport),
            )
        return self._sdk
