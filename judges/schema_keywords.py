"""JSON Schema keywords whose usual implementation may never end on some answers, in bounded time.

`jsonschema` searches patterns without a limit, and compares the items of `uniqueItems` each with each where they
cannot be sorted. What the keywords mean is the same in all drafts.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

from judges.patterns import found_in

Errors = Iterator[Any]


def _pattern(validator: Any, pattern: str, instance: Any, _: Any) -> Errors:
    if validator.is_type(instance, "string") and not found_in(instance, pattern):
        yield _error(f"{shortened(instance)!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, by_pattern: Mapping[str, Any], instance: Any, _: Any) -> Errors:
    if not validator.is_type(instance, "object"):
        return
    for pattern, schema in by_pattern.items():
        for name, value in instance.items():
            if found_in(name, pattern):
                yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]) -> Errors:
    if not validator.is_type(instance, "object"):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    others = [n for n in instance if n not in named and not any(found_in(n, pattern) for pattern in patterns)]
    if validator.is_type(allowed, "object"):
        for name in others:
            yield from validator.descend(instance[name], allowed, path=name)
    elif not allowed and others:
        yield _error(f"not among the properties: {shortened(', '.join(map(repr, others[:10])))}")


def _unique_items(validator: Any, wanted: Any, instance: Any, _: Any) -> Errors:
    if wanted and validator.is_type(instance, "array"):
        seen: set[Hashable] = set()
        for item in instance:
            if (frozen := _frozen(item)) in seen:
                yield _error(f"{shortened(repr(item))} is there twice")
                return
            seen.add(frozen)


def _frozen(value: Any) -> Hashable:
    """What is equal exactly where JSON values are: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return ("object", frozenset((name, _frozen(item)) for name, item in value.items()))
    if isinstance(value, list):
        return ("array", tuple(map(_frozen, value)))
    return ("bool", value) if isinstance(value, bool) else ("plain", value)


def _error(message: str) -> Any:
    from jsonschema.exceptions import ValidationError

    return ValidationError(message)


def shortened(text: str) -> str:
    """The beginning of a text, on one line."""
    text = " ".join(text[:400].split())
    return text if len(text) <= 120 else text[:119] + "…"


KEYWORDS: dict[str, Callable[[Any, Any, Any, Any], Errors]] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}
