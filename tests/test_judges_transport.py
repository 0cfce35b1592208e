"""What goes to which address: keys, account headers, redirects, proxies."""

import asyncio

import pytest

from judges.address import openai_address
from judges.base import JudgeError
from judges.clients import CallError, CallStatusError
from judges.openai_client import OpenAIClient
from tests.fixtures.judges.asking import MESSAGES, PATIENCE, ask
from tests.fixtures.judges.endpoint import Answer, FakeEndpoint, closed_port, completion, openai_error, plays_openai


@pytest.fixture
def own_account(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An environment full of what belongs to OpenAI's account."""
    secrets = {
        "OPENAI_API_KEY": "sk-account",
        "OPENAI_ADMIN_KEY": "sk-admin",
        "OPENAI_ORG_ID": "org-private",
        "OPENAI_PROJECT_ID": "proj-private",
        "OPENAI_CUSTOM_HEADERS": "Authorization: Bearer sk-custom\nX-Secret: sk-header",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    return ["sk-account", "sk-admin", "org-private", "proj-private", "sk-custom", "sk-header"]


@pytest.mark.parametrize("key", [None, "sk-here"])
def test_another_address_gets_its_own_key_and_nothing_of_the_account(
    own_account: list[str], monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    if key:
        monkeypatch.setenv("OPENAI_API_KEY_127_0_0_1", key)

    async def run(url: str) -> None:
        client = OpenAIClient("m", openai_address(url), patience=PATIENCE)
        await client.check()
        await client.complete(MESSAGES, max_tokens=9, temperature=0.0)
        await client.close()

    with FakeEndpoint(plays_openai(lambda _: completion("hi"))) as endpoint:
        asyncio.run(run(endpoint.url))
    assert len(endpoint.seen) == 2
    for seen in endpoint.seen:
        assert seen.headers.get("authorization") == (f"Bearer {key}" if key else None)
        assert not any(secret in str(seen) for secret in own_account)


def test_openai_itself_gets_its_key_and_account(own_account: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx2

    monkeypatch.delenv("OPENAI_CUSTOM_HEADERS")
    sent: list[httpx2.Request] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(200, json=completion("hi").body)

    async def run() -> None:
        client = OpenAIClient("m", openai_address(None), patience=PATIENCE, transport=httpx2.MockTransport(respond))
        await client.complete(MESSAGES, max_tokens=9, temperature=0.0)
        await client.close()

    asyncio.run(run())
    assert str(sent[0].url) == "https://api.openai.com/v1/chat/completions"
    assert sent[0].headers["Authorization"] == "Bearer sk-account"
    assert sent[0].headers["OpenAI-Organization"] == "org-private"


@pytest.mark.parametrize(
    "answer",
    [
        openai_error(401, "Incorrect API key provided: sk-here"),
        openai_error(400, "sk-here", param="sk-here"),
        Answer("<p>sk-here</p>", status=500),
        Answer("<p>sk-here</p>"),
        Answer({"echo": "sk-here"}),
        Answer("", status=302, headers={"Location": "http://other.org/?key=sk-here"}),
        completion("your key is sk-here", reasoning="sk-here"),
    ],
    ids=repr,
)
def test_a_key_that_an_endpoint_sends_back_goes_nowhere(answer: Answer) -> None:
    async def run(url: str) -> str:
        client = OpenAIClient("m", openai_address(url, {"OPENAI_API_KEY_127_0_0_1": "sk-here"}), patience=PATIENCE)
        said = [repr(client), str(client.identity())]
        for call in (client.check(), client.complete(MESSAGES, max_tokens=9, temperature=0.0, seed=1)):
            try:
                said.append(repr(await call))
            except (CallError, JudgeError) as error:
                said += [repr(error), repr(vars(error)), repr(error.__cause__)]
        await client.close()
        return " ".join(said)

    with FakeEndpoint(lambda _: answer) as endpoint:
        said = asyncio.run(run(endpoint.url))
    assert "sk-here" not in said
    assert any(seen.headers["authorization"] == "Bearer sk-here" for seen in endpoint.seen)


def test_a_redirect_does_not_carry_the_prompt_elsewhere() -> None:
    with FakeEndpoint(lambda _: completion("stolen")) as other:
        moved = Answer("", status=307, headers={"Location": f"{other.url}/v1/chat/completions"})
        with FakeEndpoint(lambda _: moved) as endpoint, pytest.raises(CallStatusError, match="has moved to"):
            ask(endpoint.url)
    assert other.seen == []


def test_a_proxy_is_not_used_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, closed_port())
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with FakeEndpoint(lambda _: completion("hi")) as endpoint:
        assert ask(endpoint.url).text == "hi"
