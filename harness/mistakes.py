"""Every mistake of a user as one line, whoever noticed it."""

import re

import typer
from pydantic import ValidationError
from typer.exceptions import TyperException

from harness.errors import unknown_name
from harness.screen import visible


def in_words(error: Exception) -> str:
    """The one line for a user's mistake, whoever noticed it."""
    if isinstance(error, TyperException):
        text = _usage(error)
    elif isinstance(error, ValidationError):
        flag = "-".join(str(part).replace("_", "-") for part in error.errors()[0]["loc"])
        text = _wrong_value(f"--{flag}", error)
    elif isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        text = f"{error.strerror or error}{where}; what was recorded before is intact"
    else:
        text = str(error)
    return visible(" ".join(text.split()))


def _usage(error: TyperException) -> str:
    """What is wrong with the command line, in the words of all other mistakes."""
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if command := re.match(r"No such command '([^']*)'", message):
        return str(unknown_name("command", command[1], getattr(context.command, "commands", ()) if context else ()))
    if message.startswith("No such option") and context:
        flags = [flag for parameter in context.command.params for flag in parameter.opts if flag.startswith("--")]
        return str(unknown_name("flag", getattr(error, "option_name", ""), flags))
    if isinstance(error, typer.BadParameter) and error.param and isinstance(error.__cause__, ValidationError):
        names = sorted(error.param.opts, key=lambda name: not name.startswith("--"))  # an argument has no dashes
        return _wrong_value(names[0], error.__cause__)
    return message[:1].lower() + message[1:]


def _wrong_value(flag: str, error: ValidationError) -> str:
    problem = error.errors()[0]
    message = problem["msg"].removeprefix("Value error, ").rstrip(".")
    if flag == "--limit" and re.fullmatch(r"0*\.\d+", str(problem["input"])):  # lm-eval takes a share of the items
        message = "wanted how many items, not which share of them"
    return f"{flag} {problem['input']}: {message[:1].lower()}{message[1:]}"
