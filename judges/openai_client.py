"""One model behind an OpenAI-compatible endpoint."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from judges.address import Address
from judges.base import JSON, JudgeError, Message
from judges.calls import Patience
from judges.clients import Asking, CallBodyError, CallError, CallStatusError, Reply, error_text
from judges.completion import listed_models, read_completion
from judges.endpoint import Endpoint, given, sendable, size_of
from judges.first_look import unusable
from judges.rate import Rate
from judges.served import not_served, served_name
from judges.settings import Settings, fitted

if TYPE_CHECKING:
    import httpx2
    import openai

_CHAT = "/chat/completions"


class OpenAIClient:
    """Talks to `/chat/completions` through the official client.

    Retries, deadlines and the bounds on calls are ours (`judges.endpoint`), the same for every API. Bodies go in
    and out as they are, through the official client's way to call what it has no method for: its models of every
    field cost more time than all the rest of a call, and refuse what other servers leave out.
    """

    def __init__(
        self,
        model: str,
        address: Address,
        *,
        concurrency: int = 8,
        patience: Patience | None = None,
        rate: Rate | None = None,
        transport: "httpx2.AsyncBaseTransport | None" = None,
    ) -> None:
        self.model = model
        self.endpoint = Endpoint(address, concurrency=concurrency, patience=patience, rate=rate, transport=transport)
        self._settings = Settings()
        self._version: JSON = None
        self._sdk: openai.AsyncOpenAI | None = None

    @property
    def address(self) -> Address:
        """Where the endpoint is."""
        return self.endpoint.address

    @property
    def concurrency(self) -> int:
        """The most calls in flight."""
        return self.endpoint.concurrency

    def identity(self) -> dict[str, JSON]:
        """Address, model and what the list of models reveals about it."""
        return {"api": "openai", "address": self.address.url, "model": self.model, "version": self._version}

    async def complete(self, messages: Sequence[Message], asking: Asking) -> Reply:
        """Ask for the next message; see `judges.clients.Client.complete`.

        A setting that the endpoint refuses is left out from then on and named in the reply's notes.
        """
        wanted = given(
            max_tokens=asking.max_tokens,
            temperature=asking.temperature,
            top_p=asking.top_p,
            seed=asking.seed,
            schema=asking.schema,
            as_json=True if asking.as_json and asking.schema is None else None,
            top_logprobs=asking.top_logprobs or None,
            stop=[*asking.stop] or None,
        )
        body = {"model": self.model, "messages": sendable(messages)}
        return await self.write(_CHAT, body, wanted, self._settings, read_completion, size=size_of(messages))

    async def write(
        self,
        path: str,
        body: Mapping[str, Any],
        wanted: Mapping[str, Any],
        settings: Settings,
        read: Callable[[str, tuple[str, ...]], Reply],
        *,
        size: int,
    ) -> Reply:
        """Have one of the endpoint's APIs write something, with the settings that it takes.

        Args:
            path: The API.
            body: What is asked, without settings.
            wanted: Settings; `max_tokens` is one of them.
            settings: What is known of those that this API takes.
            read: Body of a success status and notes → reply.
            size: Bytes of the prompt.

        Raises:
            CallError: There is no reply, after bounded retries.
        """

        async def send(fields: dict[str, Any]) -> Reply:
            return read(await self.post(path, {**body, **fields}), settings.notes(wanted))

        self._connected()  # its slow import must not count against the deadline of the first call
        return await self.endpoint.reply(
            lambda: fitted(settings, wanted, send), size=size, max_tokens=wanted["max_tokens"]
        )

    async def post(self, path: str, body: Mapping[str, Any]) -> str:
        """The body that a success status brings, outside all bounds and retries.

        Raises:
            CallError: There is none.
        """
        import httpx2

        return await self._fetch(lambda sdk: sdk.post(path, cast_to=httpx2.Response, body=dict(body)))

    async def check(self) -> list[str]:
        """Ask for the list of models.

        Returns:
            Warnings: no list of models, a key that crosses a network in clear.

        Raises:
            JudgeError: No key for OpenAI, nothing answers, the key is refused, or the model is not served.
        """
        import httpx2

        if self.address.is_openai and self.address.key is None:
            raise JudgeError(f"openai:{self.model} needs a key: set {self.address.key_variable}")
        warnings = []
        if self.address.sends_key_in_clear:
            warnings.append(f"the key in {self.address.key_variable} goes unencrypted to {self.address.url}")
        self._connected()
        try:
            text = await self.endpoint.ask(lambda: self._fetch(lambda sdk: sdk.get("/models", cast_to=httpx2.Response)))
        except CallError as error:
            return [*warnings, await self._without_list(error)]
        return [*warnings, *self._find_model(text)]

    async def _without_list(self, error: CallError) -> str:
        """A warning where an endpoint may still be of use.

        Raises:
            JudgeError: It cannot be.
        """
        url, status = self.address.url, error.status if isinstance(error, CallStatusError) else None
        if status in (404, 405, 501):
            await self._find_chat()
            return f"{url} has no list of models: whether it serves {self.model} shows at the first call"
        if status == 429:
            return f"{url} is busy ({error}): whether it serves {self.model} shows at the first call"
        raise self._unusable(error)

    async def _find_chat(self) -> None:
        """Ask for nothing, which costs nothing: whoever has the API says that something is missing.

        Raises:
            JudgeError: There is no such API, so that the address is another one.
        """
        try:
            await self.endpoint.ask(lambda: self.post(_CHAT, {}))
        except CallStatusError as error:
            if error.status in (404, 405) and "model" not in str(error):
                raise JudgeError(
                    f"{self.address.url} has no {_CHAT} ({error}): is this the base address of an OpenAI-compatible "
                    "API? It usually ends in /v1"
                ) from None
            if error.status in (401, 403) or 300 <= error.status < 400:
                raise self._unusable(error) from None
        except CallBodyError:
            pass
        except CallError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: CallError) -> JudgeError:
        address = self.address
        start = "start the server, or correct the address"
        return unusable(address.url, error, start=start, key=address.key_variable, has_key=address.key is not None)

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
        self._sdk = None
        await self.endpoint.close()

    async def _fetch(self, call: "Callable[[openai.AsyncOpenAI], Awaitable[httpx2.Response]]") -> str:
        """The body of a success status.

        Raises:
            CallError: There is none.
        """
        import openai

        failure: CallError
        try:
            return self.address.redact((await call(self._connected())).text)
        except openai.APIStatusError as error:
            failure = self.endpoint.status_error(error.response)
        except openai.APIConnectionError as error:
            failure = self.endpoint.broken(error)
        except (openai.OpenAIError, ValueError) as error:
            failure = CallBodyError(self.address.redact(str(error)))
        # Outside the handlers: an error's context would keep the request with its key, and what was sent back.
        raise failure

    def _connected(self) -> "openai.AsyncOpenAI":
        import openai

        if self._sdk is None:
            self._sdk = openai.AsyncOpenAI(
                # Without a key the client would take OPENAI_API_KEY, whatever the address.
                api_key=self.address.key or "none",
                base_url=self.address.url,
                max_retries=0,
                http_client=self.endpoint.http,
            )
        return self._sdk
