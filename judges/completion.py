"""Reading the bodies of an OpenAI-compatible endpoint, which may be anything."""

import json
from typing import Any

from judges.base import JSON
from judges.clients import CallBodyError, Finish, Reply, as_count, as_text, error_text
from judges.logprobs import read_tokens

_FINISHES: dict[str, Finish] = {
    "stop": "stop",
    "eos_token": "stop",
    "length": "length",
    "content_filter": "refused",
}
# What a list of models says of the weights. Not the rest: `created` is the time of the request with some servers,
# and the context a server was started with changes no reply.
_REVEALING = ("root", "digest", "sha", "revision")
_REVEALING_META = ("vocab_type", "n_vocab", "n_embd", "n_params", "size", "ftype")


def read_completion(text: str, notes: tuple[str, ...] = ()) -> Reply:
    """A reply from the body of a success status.

    Raises:
        CallBodyError: It is not JSON, or has no message.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise CallBodyError(f"the body is not JSON: {error_text(text, 100)}") from None
    try:
        choice = body["choices"][0]
        message = dict(choice["message"])
    except (KeyError, IndexError, TypeError, ValueError):
        raise CallBodyError(f"the body has no message: {error_text(text, 100)}") from None
    return _reply(body, choice, message, notes)


def _reply(body: Any, choice: Any, message: dict[str, Any], notes: tuple[str, ...]) -> Reply:
    usage = body.get("usage") if isinstance(body.get("usage"), dict) else {}
    refusal = as_text(message.get("refusal"))
    return Reply(
        text=as_text(message.get("content")),
        reasoning=as_text(message.get("reasoning_content")) or as_text(message.get("reasoning")),
        finish="refused" if refusal else finish_of(choice),
        refusal=refusal,
        prompt_tokens=as_count(usage.get("prompt_tokens")),
        output_tokens=as_count(usage.get("completion_tokens")),
        served_model=as_text(body.get("model")),
        notes=notes,
        tokens=read_tokens(choice.get("logprobs")),
    )


def finish_of(choice: dict[str, Any]) -> Finish:
    """Why a choice ended."""
    return _FINISHES.get(str(choice.get("finish_reason")), "unknown")


def listed_models(text: str) -> dict[str, JSON]:
    """Names of the models in a `/models` body, each with what the body reveals about its version.

    Raises:
        ValueError: It is no list of models.
    """
    try:
        body = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    entries = body.get("data") if isinstance(body, dict) else body  # some endpoints return the bare list
    if not isinstance(entries, list):
        raise ValueError("no list of models")
    return {
        entry["id"]: _revealed(entry) or None
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    }


def _revealed(entry: dict[str, Any]) -> dict[str, JSON]:
    meta = entry.get("meta")  # llama.cpp describes the weights there
    described = {key: meta[key] for key in _REVEALING_META if key in meta} if isinstance(meta, dict) else {}
    return {**{key: entry[key] for key in _REVEALING if key in entry}, **described}
