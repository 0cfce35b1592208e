"""Conversations: messages as chat data sets write them, read into one shape."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from finetune.errors import FinetuneError, unknown_name

Role = Literal["system", "user", "assistant", "tool"]

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "tool": "tool",
    "observation": "tool",
}
_CALLS = ("function_call", "tool_call", "function", "function_response")
# What a message may carry that its text alone would lose: silently leaving it out would train on something else.
_LOST = {
    "tool_calls": "function calls are not supported",
    "function_call": "function calls are not supported",
    "images": "only text is supported",
    "audio": "only text is supported",
    "reasoning_content": "reasoning beside the content is not supported; write it into the content",
    "thinking": "reasoning beside the content is not supported; write it into the content",
}
_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: Who speaks.
        content: What is said.
    """

    role: Role
    content: str


def read_messages(raw: Any, where: str) -> tuple[Message, ...]:
    """Read a list of `{role, content}` (OpenAI) or `{from, value}` (ShareGPT).

    Any order of turns is taken, two turns of one speaker in a row and a greeting by the assistant too, as long
    as a user says something. A content may be a list of text parts, which are joined.

    Args:
        raw: The list, as JSON has it.
        where: File, entry and field, for the error.

    Raises:
        FinetuneError: If it is not such a list, a role is unknown, a content is no text, no user speaks, or a
            message holds what its text alone would lose (function calls, images, reasoning, `weight: 0`).
    """
    if not isinstance(raw, list):
        raise FinetuneError(f"{where}: wanted a list of messages, found {_kind(raw)}")
    if not raw:
        raise FinetuneError(f"{where}: wanted at least one message, found none")
    messages = tuple(_message(turn, f"{where}[{n}]") for n, turn in enumerate(raw))
    asked = [m.content for m in messages if m.role == "user"]
    if not asked:
        said = ", ".join(m.role for m in messages[:5])
        raise FinetuneError(f"{where}: wanted at least one message of a user, found {said}")
    if not any(content.strip() for content in asked):
        raise FinetuneError(f"{where}: wanted a user who says something, found empty messages")
    return messages


def transcript(messages: Sequence[Message]) -> str:
    """Messages as one text that a person can read: each turn below its speaker's name."""
    return "\n\n".join(f"{_SPEAKERS[m.role]}: {m.content}" for m in messages)


def _message(turn: Any, where: str) -> Message:
    if not isinstance(turn, dict):
        raise FinetuneError(f"{where}: wanted an object with role and content, found {_kind(turn)}")
    if turn.get("role") is not None:
        role, field = turn["role"], "content"
    elif turn.get("from") is not None:
        role, field = turn["from"], "value"
    else:
        found = ", ".join(map(str, turn)) or "no fields"
        raise FinetuneError(f"{where}: wanted role and content, or from and value; found {found}")
    if len(turn) > 2:
        _refuse_lost(turn, where)
    return Message(_role(role, where), _text(turn.get(field), where, field))


def _refuse_lost(turn: dict[str, Any], where: str) -> None:
    for field, why in _LOST.items():
        if turn.get(field):  # files with one column per field say null, or an empty list, where there is none
            raise FinetuneError(f"{where}: {field}: {why}; or take such entries out")
    if turn.get("weight") == 0 or turn.get("train") is False:
        field = "weight" if turn.get("weight") == 0 else "train"
        raise FinetuneError(f"{where}: {field}: single messages cannot be left unlearnt; take such entries out")


def _role(name: Any, where: str) -> Role:
    if not isinstance(name, str):
        raise FinetuneError(f"{where}: wanted the role as text, found {_kind(name)}")
    if name in ROLES:
        return ROLES[name]
    plain = name.strip().lower()
    if plain in _CALLS:
        raise FinetuneError(f"{where}: role {name}: function calls are not supported; take such entries out")
    if plain not in ROLES:
        raise FinetuneError(f"{where}: {unknown_name('role', name, ROLES)}")
    return ROLES[plain]


def _text(content: Any, where: str, field: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_part(part, f"{where}: {field}[{n}]") for n, part in enumerate(content))
    raise FinetuneError(f"{where}: {field}: wanted text, found {_kind(content)}")


def _part(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(part, dict) and kind in (None, "text", "input_text", "output_text"):
        text = part.get("text")
        if isinstance(text, str):
            return text
    raise FinetuneError(f"{where}: wanted text, found {kind or _kind(part)}; only text is supported")


def _kind(value: Any) -> str:
    """What a value is called in an error: JSON's null, not Python's None."""
    return "null" if value is None else type(value).__name__
