"""Against a real OpenAI-compatible server: llama.cpp's own, with a tiny model of random weights."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from judges.base import JudgeError, Judgment, Submission, Unscored
from judges.calls import Patience
from judges.catalog import JudgeOptions, judge_from_reference
from judges.llm import JudgeSettings
from tests.fixtures.judges.tiny_gguf import write_tiny_gguf

xllamacpp = pytest.importorskip("xllamacpp")

SUBMISSIONS = [Submission(f"Name city {number}.", "Paris", f"It is city {number}.") for number in range(8)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    model = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_tiny_gguf(model)
    server = serve(model, port := free_port())
    yield f"http://127.0.0.1:{port}/v1"
    del server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def serve(model: Path, port: int) -> object:
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = 8192
    params.n_parallel = 2
    params.n_threads_http = 64  # with fewer than connections, requests wait for a keep-alive to end
    params.cpuparams.n_threads = 1
    params.model_alias = {"tiny"}
    params.offline = True
    params.warmup = False
    return xllamacpp.Server(params)


def judge_all(reference: str, submissions: list[Submission], settings: JudgeSettings) -> list[Judgment]:
    async def run() -> list[Judgment]:
        judge = judge_from_reference(reference, JudgeOptions(settings=settings, patience=Patience(retries=0)))
        try:
            assert await judge.check() == []
            return await asyncio.gather(*(judge.judge(submission) for submission in submissions))
        finally:
            await judge.close()

    return asyncio.run(run())


def test_a_schema_makes_even_a_random_model_readable(address: str) -> None:
    judgments = judge_all(f"openai:tiny@{address}", SUBMISSIONS, JudgeSettings())
    assert [judgment.reason for judgment in judgments] == [None] * len(SUBMISSIONS)
    for judgment in judgments:
        assert judgment.score is not None
        assert 0 <= judgment.score <= 100
        assert judgment.explanation
        assert judgment.calls == 1
        assert judgment.prompt_tokens is not None
        assert judgment.prompt_tokens > 300


def test_without_a_schema_nonsense_is_no_score(address: str) -> None:
    settings = JudgeSettings(use_schema=False, max_tokens=32)
    (judgment,) = judge_all(f"openai:tiny@{address}", SUBMISSIONS[:1], settings)
    assert judgment.reason in (Unscored.TRUNCATED, Unscored.UNREADABLE)


def test_a_prompt_over_the_context_is_truncated(address: str) -> None:
    (judgment,) = judge_all(f"openai:tiny@{address}", [Submission("i", "e", "word " * 4000)], JudgeSettings())
    assert judgment.reason is Unscored.TRUNCATED
    assert "context" in judgment.detail


def test_another_model_is_refused_though_the_server_would_answer_to_any_name(address: str) -> None:
    with pytest.raises(JudgeError, match=r"does not serve tyni: it serves tiny; did you mean tiny\?"):
        judge_all(f"openai:tyni@{address}", SUBMISSIONS, JudgeSettings())
