"""The flags by which a command says how checkpoints are asked: one list for every command that has answers."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from harness.commands import options
from harness.respond import AnswerSettings

# Of each setting; the default is the setting's own.
FLAGS: dict[str, Any] = {
    "style": options.Style,
    "system": options.System,
    "max_new_tokens": options.MaxNewTokens,
    "temperature": options.Temperature,
    "top_k": options.TopK,
    "top_p": options.TopP,
    "samples": options.Samples,
    "seed": options.Seed,
    "device": options.Device,
    "dtype": options.Dtype,
    "batch_size": options.BatchSize,
    "concurrency": options.Concurrency,
}


def with_answer_flags(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command, which takes `answers`, a flag for every one of its settings."""
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.name != "answers"]
    made = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_default(name), annotation=flag)
        for name, flag in FLAGS.items()
    ]

    @functools.wraps(command)
    def run(**given: Any) -> int:
        answers = AnswerSettings(**{name: given.pop(name) for name in FLAGS})
        return command(**given, answers=answers)

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*own, *made]]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": int}
    return run


def _default(name: str) -> Any:
    return AnswerSettings.model_fields[name].default
