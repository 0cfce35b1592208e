"""Answers that are to be JSON: reading them, and whether they fit a JSON Schema."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from judges.patterns import compile_pattern
from judges.schema_keywords import KEYWORDS, shortened

_FENCE = re.compile(r"[ \t]{0,3}(```+|~~~+)(.*)")
_ERRORS = 20  # of a misfit that are looked at for the one to tell; a huge answer may have as many as items


def read_json(text: str) -> Any:
    """The JSON that a text is, or that its only code block is.

    A number too long for Python is as near as a float comes. `NaN` and `Infinity` are no JSON.

    Raises:
        ValueError: There is none; says why.
    """
    whole = text.strip("\ufeff \t\r\n")
    try:
        return _parse(whole)
    except ValueError as error:
        blocks = [*islice(_code_blocks(text), 2)]
        if len(blocks) == 1:
            return _parse(blocks[0])
        if blocks:
            raise ValueError("no JSON, and several code blocks") from None
        raise ValueError(str(error) if whole else "no JSON: the answer is empty") from None


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("no JSON that can be read: brackets are nested too deep") from None


def _refuse(name: str) -> Any:
    raise ValueError(f"no JSON: {name} is no value of it")


def _integer(digits: str) -> int | float:
    # int() refuses thousands of digits, since that takes quadratic time.
    return int(digits) if len(digits) < 1000 else float(digits)


def _code_blocks(text: str) -> Iterator[str]:
    """The contents of fenced code blocks, those that are closed."""
    fence, inside = "", list[str]()
    for line in text.split("\n"):  # splitlines() also splits at characters that JSON strings may hold
        match = _FENCE.fullmatch(line)
        if not fence and match:
            fence, inside = match[1], []
        elif match and match[1].startswith(fence) and not match[2].strip():
            yield "\n".join(inside)
            fence = ""
        else:
            inside.append(line)


class Schema:
    """A JSON Schema, of the draft that it names, else 2020-12.

    What it refers to must be in it: nothing is fetched. Patterns have a time limit. Formats are not asserted, as
    the standard has it.
    """

    def __init__(self, raw: Any) -> None:
        """Take a schema.

        Raises:
            ValueError: It is none, or refers to what is not there; one line.
        """
        from jsonschema.exceptions import SchemaError
        from referencing.jsonschema import EMPTY_REGISTRY

        base = _validator_of(raw)
        try:
            base.check_schema(raw)
        except SchemaError as error:
            raise ValueError(f"not a JSON Schema: {shortened(error.message)} at {error.json_path}") from None
        except RecursionError:
            raise ValueError("not a JSON Schema that can be read: it is nested too deep") from None
        _refuse_unusable(raw, str(base.META_SCHEMA["$schema"]))
        # An empty registry: the default one would fetch from the network what a schema refers to.
        self._validator = _extended(base)(raw, registry=EMPTY_REGISTRY)
        self.misfit(None)  # a schema that only refers to itself never ends

    def misfit(self, value: Any) -> str | None:
        """Where and why a value does not fit; None where it does.

        Raises:
            TimeoutError: A pattern takes too long.
            ValueError: The schema goes in circles.
        """
        from jsonschema.exceptions import best_match

        try:
            error = best_match(islice(self._validator.iter_errors(value), _ERRORS))
        except RecursionError:
            raise ValueError("the schema goes in circles, or the answer is nested too deep for it") from None
        return None if error is None else f"{error.json_path}: {shortened(error.message)}"


def _validator_of(raw: Any) -> Any:
    from jsonschema.validators import Draft202012Validator, validator_for

    if not isinstance(raw, dict | bool):
        raise ValueError(f"not a JSON Schema: wanted an object, found {type(raw).__name__}")
    if isinstance(raw, bool) or "$schema" not in raw:
        return Draft202012Validator
    named = raw["$schema"]
    choose: Any = validator_for  # its types do not say that None may stand for an unknown one
    found = choose(raw, default=None) if isinstance(named, str) else None
    if found is None:
        raise ValueError(f"not a JSON Schema that is known: $schema is {shortened(repr(named))}")
    return found


def _extended(base: Any) -> Any:
    from jsonschema import validators

    extend: Any = validators.extend  # untyped
    return extend(base, KEYWORDS)


def _refuse_unusable(raw: Any, dialect: str) -> None:
    """Refuse what would fail at an answer: references to elsewhere, patterns that are none."""
    from referencing.jsonschema import EMPTY_REGISTRY, specification_with

    resource = specification_with(dialect).create_resource(raw)
    resolver = EMPTY_REGISTRY.with_resource(resource.id() or "", resource).resolver(resource.id() or "")
    for part, here in _subschemas(resource, resolver):
        for pattern in (part.get("pattern"), *(part.get("patternProperties") or ())):
            if isinstance(pattern, str):
                compile_pattern(pattern)
        for reference in (part.get("$ref"), part.get("$dynamicRef")):
            if isinstance(reference, str):
                _look_up(reference, here)


def _subschemas(resource: Any, resolver: Any) -> Iterator[tuple[Mapping[str, Any], Any]]:
    if isinstance(resource.contents, Mapping):
        yield resource.contents, resolver
    for inner in resource.subresources():
        yield from _subschemas(inner, resolver.in_subresource(inner))


def _look_up(reference: str, resolver: Any) -> None:
    from referencing.exceptions import Unresolvable

    try:
        resolver.lookup(reference)
    except (Unresolvable, ValueError):
        raise ValueError(f"the schema refers to {reference!r}, which is not in it; nothing is fetched") from None
