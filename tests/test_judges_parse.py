import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judges.base import Unscored
from judges.parse import Reading, read_reply, without_thinking
from judges.prompts import neutralise

SCALE = (0.0, 100.0)
REPLIES = [
    json.loads(line)
    for line in (Path(__file__).parent / "fixtures" / "judges" / "replies.jsonl").read_text("utf-8").splitlines()
]

# Pieces that meet in real replies; random text alone would never build a marker.
PIECES = [
    "SCORE:", "Score", "score", ":", "=", "：", " ", "\n", "85", "100", "-", "/100", "8/10", ".", "**", '"', "'",
    "{", "}", '{"score": 85}', '"score": ', '{"reason": "', "\\", "```json\n", "```", "<think>", "</think>", ",",
    "[", "]", "SCORE: 40", "NaN", "null", "ſ", "\u200b", "</answer>", "I'm sorry, I can't help", "final ", "(:)",
]  # fmt: skip
soups = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=30).map("".join)


@pytest.mark.parametrize("case", REPLIES, ids=[case["why"] for case in REPLIES])
def test_ugly_replies(case: dict[str, Any]) -> None:
    reading = read_reply(case["reply"], SCALE)
    assert (reading.score, reading.reason) == (case.get("score"), case.get("reason"))


def test_there_are_enough_ugly_replies_of_every_kind() -> None:
    assert len(REPLIES) >= 60
    offered = {Unscored.UNREADABLE, Unscored.OUT_OF_RANGE, Unscored.REFUSED, Unscored.EMPTY, Unscored.TRUNCATED}
    assert {case["reason"] for case in REPLIES if "reason" in case} == offered


@settings(deadline=None)
@given(soups)
def test_never_raises_and_stays_on_the_scale(text: str) -> None:
    reading = read_reply(text, SCALE)
    assert (reading.score is None) != (reading.reason is None)
    assert reading.score is None or (0 <= reading.score <= 100 and reading.score.is_integer())


@settings(deadline=None)
@given(soups)
def test_takes_no_score_from_an_answer_that_is_quoted_whole(answer: str) -> None:
    assert read_reply(neutralise(answer), SCALE).score is None


@settings(deadline=None)
@given(soups, st.integers(0, 100))
def test_a_quoted_answer_does_not_change_the_verdict_that_follows(answer: str, score: int) -> None:
    quoted = json.dumps({"reason": neutralise(answer), "score": score})
    assert read_reply(quoted, SCALE).score == score


@settings(deadline=None)
@given(st.text(), st.integers(0, 100), st.booleans(), st.booleans())
def test_json_is_read_back(reason: str, score: int, fenced: bool, ascii_only: bool) -> None:
    reply = json.dumps({"reason": reason, "score": score}, ensure_ascii=ascii_only)
    reading = read_reply(f"```json\n{reply}\n```" if fenced else reply, SCALE)
    assert (reading.score, reading.form, reading.explanation) == (score, "json", reason.strip())


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_characters="{}<>:=："), max_size=200), st.integers(0, 100))
def test_text_with_a_last_line_is_read_back(reason: str, score: int) -> None:
    reading = read_reply(f"{reason}\nSCORE: {score}", SCALE)
    assert (reading.score, reading.form) == (score, "text")


@settings(deadline=None)
@given(st.integers(-1000, 1000), st.integers(-50, 50), st.integers(1, 100))
def test_only_what_the_scale_offers_counts(number: int, lowest: int, width: int) -> None:
    scale = (float(lowest), float(lowest + width))
    expected = (float(number), None) if lowest <= number <= lowest + width else (None, Unscored.OUT_OF_RANGE)
    for reply in (f"SCORE: {number}", json.dumps({"score": number})):
        reading = read_reply(reply, scale)
        assert (reading.score, reading.reason) == expected


def test_percent_and_fraction_must_fit_the_scale() -> None:
    assert read_reply("SCORE: 4/5", (1, 5)).score == 4
    assert read_reply("SCORE: 4/100", (1, 5)).reason is Unscored.UNREADABLE
    assert read_reply("SCORE: 4%", (1, 5)).reason is Unscored.UNREADABLE


def test_the_explanation_is_the_text_before_the_marker() -> None:
    assert read_reply("It names the right city.\n\nSCORE: 90", SCALE) == Reading(
        score=90, explanation="It names the right city.", form="text"
    )
    assert read_reply("SCORE: 90\nIt names the right city.", SCALE).explanation == "It names the right city."


def test_thinking_is_taken_out() -> None:
    assert without_thinking("a<think>b</think>c") == ("ac", False)
    assert without_thinking("b</think>c") == ("c", False)
    assert without_thinking("a<think>b") == ("a", True)
    assert without_thinking("a<think>b<think>c</think>d") == ("ad", False)


@pytest.mark.parametrize(
    "reply",
    [
        '{"reason": "' + " " * 300_000,
        "SCORE:" + " " * 300_000,
        "a" + " " * 300_000 + "b",
        ". " + " " * 300_000 + "score",
        '{ "a" ' * 50_000,
        '{"a":' * 50_000,
        "<think>" * 40_000,
        "score: " * 40_000,
        "```json\n" + "\n" * 300_000 + "{",
        "I " * 100_000,
    ],
    ids=lambda reply: reply[:12],
)
def test_long_replies_take_no_more_than_linear_time(reply: str) -> None:
    start = time.process_time()
    assert read_reply(reply, SCALE).score is None
    # A quadratic reader needs minutes for these; the bound is wide for a busy machine.
    assert time.process_time() - start < 5
