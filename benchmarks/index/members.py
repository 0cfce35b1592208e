"""Which tasks a name stands for, and what their files say, without loading any of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.index.catalog import Manager, is_task_file

Settings = dict[str, Any]
"""A task's settings as its file has them, files it includes merged in; functions are `FOLDER/MODULE.NAME`."""

# What a group's file says of the group itself; the rest goes for each of its tasks.
_OF_THE_GROUP = {"group", "group_alias", "task", "tag", "aggregate_metric_list", "metadata", "task_list"}


def members(names: Iterable[str], manager: Manager) -> dict[str, Settings]:
    """Settings of every task that these names stand for, through groups and tags, each task once.

    Args:
        names: Tasks, groups, tags, or a task's own YAML file; names that stand for nothing are left out.
        manager: See `benchmarks.index.catalog.task_manager`.
    """
    found: dict[str, Settings] = {}
    for name in names:
        entry = manager.task_index.get(name)
        if entry is not None:
            _collect(name, {}, manager, found, frozenset())
        elif is_task_file(name):
            settings = _read_file(name)
            found[str(settings.get("task") or name)] = settings
    return found


def _collect(
    name: str, changes: Mapping[str, Any], manager: Manager, found: dict[str, Settings], above: frozenset[str]
) -> None:
    entry = manager.task_index[name]
    settings = {**(entry.cfg or {}), **changes}
    if entry.kind.name == "TAG":
        for task in sorted(entry.tags):
            if task in manager.task_index:
                _collect(task, changes, manager, found, above)
    elif entry.kind.name != "GROUP":
        found.setdefault(name, settings)
    elif name not in above:
        _collect_group(entry.cfg or {}, changes, manager, found, above | {name})


def _collect_group(
    group: Settings,
    changes: Mapping[str, Any],
    manager: Manager,
    found: dict[str, Settings],
    above: frozenset[str],
) -> None:
    own = {key: value for key, value in group.items() if key not in _OF_THE_GROUP}
    changes = {**own, **changes}
    children = group.get("task")
    for child in children if isinstance(children, list) else []:
        item = {"task": child} if isinstance(child, str) else dict(child)
        inner = item.get("group")
        name = str(inner or item.get("task"))
        if name in manager.task_index:
            more = {key: value for key, value in item.items() if key not in _OF_THE_GROUP}
            _collect(name, {**changes, **more}, manager, found, above)
        elif inner:
            _collect_group(item, changes, manager, found, above)
        else:
            found.setdefault(f"{group.get('group')}::{name}", {**changes, **item})


def _read_file(path: str | Path) -> Settings:
    from lm_eval.tasks._yaml_loader import load_yaml

    settings: Settings = load_yaml(path, resolve_func=False)
    return settings


def scored_split(settings: Mapping[str, Any]) -> str | None:
    """The split a task is scored on."""
    split = settings.get("test_split") or settings.get("validation_split")
    return str(split) if split else None


def data_set(settings: Mapping[str, Any]) -> str | None:
    """The hub's name of the data set a task reads, with its configuration: `openai/gsm8k (main)`."""
    path, config = settings.get("dataset_path"), settings.get("dataset_name")
    return None if not path else f"{path} ({config})" if config else str(path)
