"""From what a user names to lm-eval tasks that hold their data, or one clear line."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from benchmarks.catalog import Manager, empty_manager, resolve, task_manager
from benchmarks.errors import BenchmarkError

Task = Any  # lm_eval.api.task.Task
Loaded = dict[str, Any]  # lm_eval.tasks.manager.TaskDict: tasks and groups by name

TaskSpec = str | dict[str, Any] | Task
"""A name lm-eval knows (or a glob, or a YAML file); a task as a dict in lm-eval's words; a group as
`{"group": ..., "task": [specs], "aggregate_metric_list": [...]}`; or a task already loaded."""


def load_specs(specs: Sequence[TaskSpec], manager: Manager | None = None) -> Loaded:
    """Load tasks with their data.

    Args:
        specs: What to load.
        manager: See `task_manager`; built only when a spec is a name.

    Raises:
        BenchmarkError: If a name is unknown, data cannot be had, or a task is broken.
    """
    if not specs:
        raise BenchmarkError("no task given; `ift-eval tasks` lists what there is")
    if manager is None:
        manager = task_manager() if any(map(_holds_name, specs)) else empty_manager()
    built = [made for spec in specs for made in _build(spec, manager)]
    with one_line(", ".join(map(spec_name, specs))):
        loaded: Loaded = manager.load(built)
    return loaded


def spec_name(spec: TaskSpec) -> str:
    """What a spec is called in messages."""
    if isinstance(spec, dict):
        return str(spec.get("group") or spec.get("task"))
    return spec if isinstance(spec, str) else str(spec.task_name)


def _holds_name(spec: TaskSpec) -> bool:
    if isinstance(spec, dict) and "group" in spec:
        return any(map(_holds_name, spec["task"]))
    return isinstance(spec, str)


def _build(spec: TaskSpec, manager: Manager) -> Iterator[Any]:
    """The tasks and groups a spec stands for; a tag or a glob stands for several."""
    if isinstance(spec, str):
        for name in resolve([spec], manager):
            with one_line(name):
                yield from _tops(manager.load([name]))
    elif isinstance(spec, dict) and "group" in spec:
        yield _build_group(spec, manager)
    elif isinstance(spec, dict):
        with one_line(spec_name(spec)):
            # lm-eval writes into the dicts it is given.
            yield from _tops(manager.load([deepcopy(spec)]))
    else:
        yield spec


def _build_group(spec: dict[str, Any], manager: Manager) -> Any:
    """A group whose members keep their names (lm-eval's own reading of such a dict prefixes them)."""
    from lm_eval.api.group import Group

    group = Group.from_config({key: value for key, value in spec.items() if key != "task"})
    for child in spec["task"]:
        for made in _build(child, manager):
            group.add(made)
    return group


def _tops(loaded: Loaded) -> list[Any]:
    """What of this is in no group of it."""
    inner = {child for children in loaded.get("group_map", {}).values() for child in children}
    everything = {**loaded["tasks"], **loaded.get("groups", {})}
    return [each for name, each in everything.items() if name not in inner]


@contextmanager
def one_line(task: str) -> Iterator[None]:
    """Turn whatever goes wrong while a task loads into one sentence that names it and a way out.

    Raises:
        BenchmarkError: Instead of any other exception.
    """
    from datasets.exceptions import DatasetNotFoundError

    try:
        yield
    except BenchmarkError:
        raise
    except (ConnectionError, TimeoutError, DatasetNotFoundError) as error:
        raise BenchmarkError(
            f"task {task}: its data set is not on this machine and could not be fetched ({_first_line(error)}); "
            f"connect to the network, or give local files: --data DIR for mmlu, --local {task}=DIR for other tasks"
        ) from error
    except ImportError as error:
        wanted = f"the package {error.name}: pip install {error.name}" if error.name else f"more: {_first_line(error)}"
        raise BenchmarkError(f"task {task} needs {wanted}") from error
    except Exception as error:
        raise BenchmarkError(f"task {task} cannot be loaded: {type(error).__name__}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
