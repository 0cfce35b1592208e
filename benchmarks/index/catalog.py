"""The tasks lm-eval knows, by name."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from benchmarks.errors import unknown_name
from benchmarks.index.cached import cache_file, kept_manager
from benchmarks.quiet import quiet

Manager = Any  # lm_eval.tasks.TaskManager, which has no types
Kind = Literal["task", "group", "tag"]

_KINDS: dict[str, Kind] = {"TASK": "task", "PY_TASK": "task", "GROUP": "group", "TAG": "tag"}


@dataclass(frozen=True)
class TaskName:
    """A name that can be run.

    Attributes:
        name: What to type.
        kind: One task; a group, with scores of its own; or a tag, short for several tasks.
        output_type: How a task is answered (`multiple_choice`, `generate_until`, ...), where its file says so.
    """

    name: str
    kind: Kind
    output_type: str | None


def task_manager(include: str | Path | None = None, *, building: Callable[[], None] = lambda: None) -> Manager:
    """lm-eval's index of its task files: half a second to read back, many to build. Pass it on.

    Args:
        include: A folder of further task files.
        building: Called where the index is not kept from before, and has to be built.
    """
    from lm_eval.tasks import TaskManager

    with quiet():
        if include:
            building()
            return TaskManager(include_path=str(include))
        return kept_manager(_own_tasks(), TaskManager, cache_file(), building=building)


def mmlu_manager() -> Manager:
    """An index of MMLU alone, which takes a moment to build."""
    from lm_eval.tasks import TaskManager

    with quiet():
        return TaskManager(include_path=str(_own_tasks() / "mmlu" / "default"), include_defaults=False)


def _own_tasks() -> Path:
    from lm_eval import tasks

    return Path(str(tasks.__file__)).parent


def empty_manager() -> Manager:
    """A manager that knows no names, enough for tasks given as dicts, built at once."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_defaults=False)


def list_tasks(pattern: str | None = None, manager: Manager | None = None) -> list[TaskName]:
    """The names that match, in alphabetical order.

    Args:
        pattern: Part of a name, or with `*`, `?`, `[` a glob for the whole of it; all names when None.
        manager: See `task_manager`; built when not given.
    """
    index = (manager or task_manager()).task_index
    found = matching(pattern, index) if pattern else sorted(index)
    return [TaskName(name, _KINDS[index[name].kind.name], (index[name].cfg or {}).get("output_type")) for name in found]


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names a pattern means, sorted; see `list_tasks`."""
    if is_glob(pattern):
        return sorted(name for name in names if fnmatchcase(name, pattern))
    return sorted(name for name in names if pattern.lower() in name.lower())


def is_glob(pattern: str) -> bool:
    """Whether the pattern is for whole names rather than a part of them."""
    return any(mark in pattern for mark in "*?[")


def resolve(names: Iterable[str], manager: Manager) -> list[str]:
    """The names with globs expanded; a task's own YAML file passes as it is.

    Raises:
        BenchmarkError: If a name or glob stands for nothing, with the nearest known names.
    """
    known = manager.task_index
    found: dict[str, None] = {}
    for name in names:
        hits = [name] if name in known or is_task_file(name) else matching(name, known) if is_glob(name) else []
        if not hits:
            raise unknown_name("task", name, known, see="`ift-eval tasks PATTERN` lists them")
        found |= dict.fromkeys(hits)
    return list(found)


def is_task_file(name: str) -> bool:
    """Whether this is a task's own YAML file rather than a name."""
    return name.endswith((".yaml", ".yml")) and Path(name).is_file()
