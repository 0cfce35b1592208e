"""The flags by which commands say how checkpoints are asked and measured: one list for all commands of a kind."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from harness.benchmark import BenchmarkSettings
from harness.commands import options
from harness.elsewhere.fields import AnswerFields
from harness.judging.settings import JudgingSettings
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
JUDGING: dict[str, Any] = {
    "rubric": options.Rubric,
    "pairwise": options.Pairwise,
    "against": options.Against,
    "reasons": options.Reasons,
    "weighted": options.Weighted,
    "repeats": options.Repeats,
    "judge_temperature": options.JudgeTemperature,
    "judge_max_tokens": options.JudgeMaxTokens,
    "judge_seed": options.JudgeSeed,
    "reply_form": options.ReplyForm,
    "rpm": options.CallsPerMinute,
    "tpm": options.TokensPerMinute,
    "judge_timeout": options.JudgeTimeout,
    "judge_retries": options.JudgeRetries,
    "max_calls": options.MaxCalls,
    "max_cost": options.MaxCost,
    "price_prompt": options.PricePrompt,
    "price_output": options.PriceOutput,
    "prices": options.Prices,
}
FIELDS: dict[str, Any] = {name: options.field_flag(name) for name in AnswerFields.model_fields}

Command = Callable[..., int]


def with_answer_flags(command: Command) -> Command:
    """Give a command, which takes `answers: AnswerSettings`, a flag for every one of its settings."""
    return with_flags(command, "answers", AnswerSettings, ANSWERS)


def with_measure_flags(command: Command) -> Command:
    """Give a command, which takes `measuring: BenchmarkSettings`, the flags that all benchmarks have."""
    return with_flags(command, "measuring", BenchmarkSettings, MEASURES)


def with_judging_flags(command: Command) -> Command:
    """Give a command, which takes `judging: JudgingSettings`, a flag for every one of its settings."""
    return with_flags(command, "judging", JudgingSettings, JUDGING)


def with_asking_flags(command: Command) -> Command:
    """The same without those that say what is compared with what, and how often."""
    asking = {name: flag for name, flag in JUDGING.items() if name not in ("against", "repeats")}
    return with_flags(command, "judging", JudgingSettings, asking)


def with_field_flags(command: Command) -> Command:
    """Give a command, which takes `fields: AnswerFields`, flags that name the fields of a file of answers."""
    return with_flags(command, "fields", AnswerFields, FIELDS)


def with_flags(
    command: Command, parameter: str, settings: type[BaseModel], flags: Mapping[str, Any], *, prefix: str = ""
) -> Command:
    """Give a command, which takes settings under the name of a parameter, a flag for each of them instead.

    `prefix`: of the names of their parameters, where the command has others of a setting's name.
    """
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.name != parameter]
    made = [
        inspect.Parameter(
            prefix + name, inspect.Parameter.KEYWORD_ONLY, default=settings.model_fields[name].default, annotation=flag
        )
        for name, flag in flags.items()
    ]

    @functools.wraps(command)
    def run(**given: Any) -> int:
        chosen = settings(**{name: given.pop(prefix + name) for name in flags})
        return command(**given, **{parameter: chosen})

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*own, *made]]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": int}
    return run
