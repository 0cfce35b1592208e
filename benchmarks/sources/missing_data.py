"""What to say when a task's data cannot be had: which files it wants, and where they may lie."""

import re
from collections.abc import Mapping
from typing import Any

from benchmarks.index.members import Settings, data_set, scored_split

TEMPLATES = ("doc_to_text", "doc_to_target", "doc_to_choice")
_MANY = 3  # tasks named of a group
_MMLU = "cais/mmlu"


def files_wanted(tasks: Mapping[str, Settings], said: str) -> str:
    """Which tasks lack data, and the files that would do, for the end of a sentence.

    Args:
        tasks: Settings of every task that was to be loaded.
        said: The error, which usually names the data set.
    """
    reading = {task: settings for task, settings in tasks.items() if settings.get("dataset_path")}
    missing = {task: s for task, s in reading.items() if str(s["dataset_path"]) in said} or reading
    if not missing:
        return "give local files with --local NAME=DIR"
    task, settings = next(iter(missing.items()))
    if all(s["dataset_path"] == _MMLU for s in missing.values()):
        return f"give its files: for mmlu with --data DIR, for run with --mmlu-data DIR, else with --local {_MMLU}=DIR"
    if len(tasks) == 1:
        return f"give local files: --local {task}=DIR with {_files(settings)}"
    data_sets = sorted({str(s["dataset_path"]) for s in missing.values()})
    names = ", ".join(list(missing)[:_MANY]) + (", ..." if len(missing) > _MANY else "")
    place = str(settings.get("dataset_name") or task)
    return (
        f"give local files to the {len(missing)} of its {len(tasks)} tasks that read {', '.join(data_sets)} ({names}): "
        f"--local {data_sets[0]}=DIR with, for {task}, {_files(settings, f'{place}/')}"
    )


def read_by(tasks: Mapping[str, Settings]) -> str:
    """The data sets of these tasks, in brackets; nothing when unknown."""
    found = sorted({found for settings in tasks.values() if (found := data_set(settings))})
    return f" {found[0]}" if len(found) == 1 else ""


def _files(settings: Settings, folder: str = "") -> str:
    scored = scored_split(settings) or "test"
    fields = fields_read(settings)
    told = f" (fields {', '.join(fields)})" if fields else ""
    examples = settings.get("fewshot_split") or settings.get("training_split") or settings.get("validation_split")
    shots = f" and, for shots, {folder}{examples}.jsonl" if examples and examples != scored else ""
    return f"{folder}{scored}.jsonl{told}{shots}"


def fields_read(settings: Settings, *, prepared: bool = False) -> list[str]:
    """What its templates read of a document; nothing where Python code reads it.

    `prepared`: of a document as the task's own code hands it to them, if there is such code.
    """
    templates = [settings.get(name) for name in TEMPLATES]
    if not prepared and (settings.get("process_docs") or any(map(is_function, templates))):
        return []
    return sorted({field for value in templates if isinstance(value, str) for field in _fields_in(value)})


def is_function(value: Any) -> bool:
    """Whether a setting is a function: `FOLDER/MODULE.NAME`, or found already."""
    if isinstance(value, str):
        return "{{" not in value and bool(re.match(r"^(/|[A-Za-z]:[\\/])", value))
    return callable(value)


def _fields_in(template: str) -> set[str]:
    from jinja2 import Environment, TemplateSyntaxError, meta

    if "{{" not in template and "{%" not in template:
        return {template} if template.isidentifier() else set()
    try:
        return meta.find_undeclared_variables(Environment().parse(template))
    except TemplateSyntaxError:
        return set()
