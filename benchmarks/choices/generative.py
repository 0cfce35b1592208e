"""Multiple choice as something to write: the model names its choice in words, and is read."""

from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.loading import Loaded

Task = Any  # lm_eval.api.task.Task


def generative(loaded: Loaded, *, chat: bool = False) -> Loaded:
    """The tasks with multiple choice turned into writing; names, groups and their aggregates stay.

    A prompt that lists lettered choices, as MMLU's does, stays as it is; to any other the choices are added as
    lines "A. ...", with "Answer:" behind them. One line of instruction comes first. How replies are read: see
    `benchmarks.choices.reading`.

    Args:
        loaded: What was loaded; it is left as it is.
        chat: Whether prompts go through a chat template, so that there is room to think before answering.

    Raises:
        BenchmarkError: If there is a task that cannot be turned.
    """
    return {**loaded, "tasks": {name: _turned(name, task, chat=chat) for name, task in loaded["tasks"].items()}}


def _turned(name: str, task: Task, *, chat: bool) -> Task:
    from lm_eval.api.task import ConfigurableTask

    from benchmarks.choices.written import WrittenChoice

    if task.OUTPUT_TYPE != "multiple_choice" or isinstance(task, WrittenChoice):
        return task
    if not isinstance(task, ConfigurableTask) or task.config.process_results is not None:
        raise BenchmarkError(
            f"task {name} scores log-likelihoods with code of its own, so that its choices cannot be written; "
            f"leave out --how generate, or the task"
        )
    return WrittenChoice(task, chat=chat)
