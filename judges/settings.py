"""Which settings an OpenAI-compatible endpoint takes, learnt from what it refuses."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from judges.base import JSON
from judges.clients import CallStatusError, PromptTooLongError, Reply, error_text

_BOUNDS = ("maxLength", "minLength", "minimum", "maximum")
_SCHEMA_WORDS = re.compile(
    r"response_?format|json_?schema|structured|grammar|guided|\bschema\b|" + "|".join(_BOUNDS), re.IGNORECASE
)

_MOST_LOGPROBS, _FEW_LOGPROBS = 20, 5  # OpenAI and vLLM give twenty, others five
_CHANGED = {
    "schema": "the endpoint takes no bounds in a JSON schema: sent without",
    "max_tokens": "the endpoint wants max_completion_tokens for max_tokens: sent so",
    "top_logprobs": f"the endpoint gives no more than {_FEW_LOGPROBS} log-probabilities a token",
}
_IN_WORDS = {"schema": "a JSON schema", "as_json": "a JSON object", "top_logprobs": "log-probabilities"}

_WORDS = {
    "schema": _SCHEMA_WORDS,
    "as_json": re.compile(r"response_?format|json_?object|json[ _]mode", re.IGNORECASE),
    "top_logprobs": re.compile(r"log_?probs|log[ -]prob", re.IGNORECASE),
    "max_tokens": re.compile(r"max_(?:completion_)?tokens"),
}


class Settings:
    """Turns wanted settings into fields of a request; after a refusal, into fewer.

    A refusal changes one setting for good: the schema loses its bounds, then goes; `max_tokens` gets its newer
    name, then goes; many log-probabilities become a few, then go; the others go.
    """

    def __init__(self) -> None:
        self._steps: dict[str, int] = {}

    @property
    def stage(self) -> int:
        """How often settings were changed; tells whether they have changed since a request was made."""
        return sum(self._steps.values())

    def as_sent(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of the request for the wanted settings, without what the endpoint refuses."""
        fields: dict[str, Any] = {}
        for name, value in wanted.items():
            fields.update(_fields(name, value, self._steps.get(name, 0)))
        return fields

    def adapt(self, error: CallStatusError, wanted: Mapping[str, Any], stage: int) -> bool:
        """Give up the setting that a refusal names.

        Args:
            error: What the endpoint answered.
            wanted: The settings that were asked for.
            stage: `stage` at the time the refused request was made.

        Returns:
            Whether sending again makes sense.
        """
        if error.status not in (400, 422) and not (error.status == 403 and "logprobs" in error.body):
            return False  # OpenAI forbids (403) log-probabilities of its models that reason
        if stage != self.stage:
            return True  # another call in flight has learnt something meanwhile
        complaint = _complaint(error.body)
        for name, value in wanted.items():
            step = self._steps.get(name, 0)
            if (sent := _fields(name, value, step)) and _names(complaint, name):
                while _fields(name, value, step) == sent:
                    step += 1  # a step may change nothing: two log-probabilities are few already
                self._steps[name] = step
                return True
        return False

    def notes(self, wanted: Mapping[str, Any]) -> tuple[str, ...]:
        """What was changed of the wanted settings, one line each."""
        return tuple(_note(name, step) for name, step in self._steps.items() if name in wanted)


def _fields(name: str, value: Any, step: int) -> dict[str, Any]:
    """Fields of the request for one setting that was refused `step` times; none where it is given up."""
    if name == "schema" and step < 2:
        schema = value if step == 0 else without_bounds(value)
        named = {"name": "verdict", "schema": schema, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    if name == "as_json" and step == 0:
        return {"response_format": {"type": "json_object"}}
    if name == "top_logprobs" and step < 2:
        return {"logprobs": True, "top_logprobs": min(value, (_MOST_LOGPROBS, _FEW_LOGPROBS)[step])}
    if name == "max_tokens" and step < 2:
        return {"max_tokens" if step == 0 else "max_completion_tokens": value}
    return {name: value} if step == 0 else {}


def _note(name: str, step: int) -> str:
    if step == 1 and name in _CHANGED:
        return _CHANGED[name]
    return f"the endpoint refuses {_IN_WORDS.get(name, name)}: sent without"


async def fitted(
    settings: Settings, wanted: Mapping[str, Any], send: Callable[[dict[str, Any]], Awaitable[Reply]]
) -> Reply:
    """Send, and send again with one setting less for as long as the endpoint refuses settings.

    Raises:
        CallError: What it refuses is no setting, or there is no answer.
    """
    while True:
        stage = settings.stage
        try:
            return await send(settings.as_sent(wanted))
        except PromptTooLongError:
            raise
        except CallStatusError as error:
            if not settings.adapt(error, wanted, stage):
                raise


def without_bounds(schema: Mapping[str, JSON]) -> dict[str, JSON]:
    """A JSON schema without limits on lengths and numbers, which some strict modes do not know."""
    kept: dict[str, JSON] = {}
    for key, value in schema.items():
        if key == "properties" and isinstance(value, Mapping):
            kept[key] = {name: without_bounds(sub) if isinstance(sub, Mapping) else sub for name, sub in value.items()}
        elif key not in _BOUNDS:
            kept[key] = without_bounds(value) if isinstance(value, Mapping) else value
    return kept


def _names(complaint: str, name: str) -> bool:
    if name in _WORDS:
        return _WORDS[name].search(complaint) is not None
    return re.search(rf"\b{name}\b", complaint) is not None


def _complaint(body: str) -> str:
    """The part of an error body that can name a setting, without the prompt that some servers echo in it."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return body[:300]
    error = parsed.get("error") if isinstance(parsed, dict) else None
    if isinstance(error, dict) and error.get("param"):
        return str(error["param"])
    detail = parsed.get("detail") if isinstance(parsed, dict) else None
    if isinstance(detail, list):
        return " ".join(str(part) for entry in detail if isinstance(entry, dict) for part in entry.get("loc", []))
    return error_text(body, 300)
