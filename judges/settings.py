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


class Settings:
    """Turns wanted settings into fields of a request; after a refusal, into fewer.

    A refusal changes one setting for good: the schema loses its bounds, then goes; `max_tokens` gets its newer
    name, then goes; the others go.
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
            fields.update(self._fields(name, value, self._steps.get(name, 0)))
        return fields

    def _fields(self, name: str, value: Any, step: int) -> dict[str, Any]:
        if name == "schema" and step < 2:
            schema = value if step == 0 else without_bounds(value)
            named = {"name": "verdict", "schema": schema, "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        if name == "max_tokens" and step < 2:
            return {"max_tokens" if step == 0 else "max_completion_tokens": value}
        return {name: value} if step == 0 else {}

    def adapt(self, error: CallStatusError, wanted: Mapping[str, Any], stage: int) -> bool:
        """Give up the setting that a refusal names.

        Args:
            error: What the endpoint answered.
            wanted: The settings that were asked for.
            stage: `stage` at the time the refused request was made.

        Returns:
            Whether sending again makes sense.
        """
        if error.status not in (400, 422):
            return False
        if stage != self.stage:
            return True  # another call in flight has learnt something meanwhile
        complaint = _complaint(error.body)
        for name in wanted:
            if self._fields(name, wanted[name], self._steps.get(name, 0)) and _names(complaint, name):
                self._steps[name] = self._steps.get(name, 0) + 1
                return True
        return False

    def notes(self) -> tuple[str, ...]:
        """What was changed, one line each."""
        return tuple(self._note(name, step) for name, step in self._steps.items())

    def _note(self, name: str, step: int) -> str:
        if step == 1 and name == "schema":
            return "the endpoint takes no bounds in a JSON schema: sent without"
        if step == 1 and name == "max_tokens":
            return "the endpoint wants max_completion_tokens for max_tokens: sent so"
        return f"the endpoint refuses {'a JSON schema' if name == 'schema' else name}: sent without"


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
    if name == "schema":
        return _SCHEMA_WORDS.search(complaint) is not None
    if name == "max_tokens":
        return re.search(r"max_(?:completion_)?tokens", complaint) is not None
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
