"""What a user wrote wrongly in a file, in one line."""

from pydantic import BaseModel, ValidationError


def wrong_field(error: ValidationError, model: type[BaseModel]) -> str:
    """The field that `model` refused, why, and the fields there are.

    A field that is unknown goes before one that is missing: it is often the missing one, misspelt.
    """
    first = min(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")
    field = ".".join(str(part) for part in first["loc"])
    known = ", ".join(model.model_fields)
    message = first["msg"].removeprefix("Value error, ")
    return f"{field + ': ' if field else ''}{message} (fields are {known})"
