"""Choices that are nothing: their probability is 1 whatever the model, so that they would always be chosen."""

from typing import Any

from benchmarks.errors import BenchmarkError

Task = Any  # lm_eval.api.task.Task


def refuse_empty_choices(task: Task, *, chat: bool, limit: int | None) -> None:
    """Look for choices without text, where nothing else would be scored in their place.

    Args:
        task: A loaded task.
        chat: Whether prompts go through a chat template: then lm-eval puts no space before a choice.
        limit: Look at the first so many documents.

    Raises:
        BenchmarkError: Naming the first such document.
    """
    if task.OUTPUT_TYPE != "multiple_choice" or not hasattr(task.config, "target_delimiter"):
        return
    if (task.config.target_delimiter and not chat) or isinstance(task.config.doc_to_choice, list):
        return
    for place, doc in task.doc_iterator(limit=limit):
        choices = [str(task.doc_to_target(doc))] if task.multiple_input else map(str, task.doc_to_choice(doc))
        empty = [number for number, choice in enumerate(choices, 1) if not choice]
        if empty:
            raise BenchmarkError(
                f"task {task.task_name}: document {place + 1} has nothing to score as choice "
                f"{' and '.join(map(str, empty))}, which would always be chosen; mend or remove it"
            )
