"""Reading the log-probabilities of a reply's tokens, which may be anything or missing."""

from math import isnan
from typing import Any

from judges.clients import Token

_ROUNDING = 0.01  # a sure token can come out a little above 0


def read_tokens(logprobs: Any) -> tuple[Token, ...]:
    """Tokens from `choices[0].logprobs` of a chat completion, or from the bare list that Ollama gives.

    All or nothing: with one token left out, the others would stand for another text.
    """
    listed = logprobs.get("content") if isinstance(logprobs, dict) else logprobs
    if not isinstance(listed, list):
        return ()
    try:
        return tuple(_token(entry) for entry in listed)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return ()


def _token(entry: Any) -> Token:
    text, logprob = _pair(entry)
    return Token(text, logprob, tuple(_pair(other) for other in entry.get("top_logprobs") or ()))


def _pair(entry: Any) -> tuple[str, float]:
    text, logprob = entry["token"], entry["logprob"]
    if not isinstance(text, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
        raise TypeError("no token with its log-probability")
    if isnan(logprob) or logprob > _ROUNDING:
        raise ValueError("no log-probability")
    return text, min(float(logprob), 0.0)
