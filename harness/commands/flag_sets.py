"""The flags by which commands say how checkpoints are asked and measured: one list for all commands of a kind."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from harness.benchmark import BenchmarkSettings
from harness.commands import options
from harness.respond import AnswerSettings

# Of each setting its flag; the default is the setting's own.
ANSWERS: dict[str, Any] = {
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
MEASURES: dict[str, Any] = {
    "limit": options.Limit,
    "chat": options.Chat,
    "device": options.Device,
    "dtype": options.Dtype,
    "memory": options.Memory,
    "batch_size": options.BatchSize,
    "concurrency": options.Concurrency,
}

Command = Callable[..., int]


def with_answer_flags(command: Command) -> Command:
    """Give a command, which takes `answers: AnswerSettings`, a flag for every one of its settings."""
    return _with_flags(command, "answers", AnswerSettings, ANSWERS)


def with_measure_flags(command: Command) -> Command:
    """Give a command, which takes `measuring: BenchmarkSettings`, the flags that all benchmarks have."""
    return _with_flags(command, "measuring", BenchmarkSettings, MEASURES)


def _with_flags(command: Command, parameter: str, settings: type[BaseModel], flags: Mapping[str, Any]) -> Command:
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.name != parameter]
    made = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=settings.model_fields[name].default, annotation=flag
        )
        for name, flag in flags.items()
    ]

    @functools.wraps(command)
    def run(**given: Any) -> int:
        chosen = settings(**{name: given.pop(name) for name in flags})
        return command(**given, **{parameter: chosen})

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*own, *made]]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": int}
    return run
