"""lm-eval's index of its task files, kept from one run of the program to the next.

Building it reads 14,000 YAML files with libyaml, many of them twice since files include each other: 13 s of CPU time.
As JSON it is there in 0.5 s. JSON, since what others could have written is never to be unpickled.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from finetune.atomic import whole_file
from finetune.collector import uncollected
from finetune.errors import FinetuneError

Manager = Any  # lm_eval.tasks.TaskManager, which has no types
Stamp = dict[str, str | int]

_FORMAT = 1
_LEFT_OUT = "__pycache__"


def cache_file() -> Path | None:
    """Where the index is kept: `$XDG_CACHE_HOME/ift-eval`, else `~/.cache/ift-eval`; None for a user without a home."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(base) / "ift-eval" / "tasks.json"


def kept_manager(
    root: Path, build: Callable[[], Manager], file: Path | None, *, building: Callable[[], None] = lambda: None
) -> Manager:
    """The index of a folder of task files, as it was kept if it is still that of these files, else built and kept.

    Args:
        root: The folder.
        build: Makes the index.
        file: Where it is kept; nowhere when None, or where nothing can be written.
        building: Called before it is built.
    """
    stamp = stamp_of(root)
    kept = _read(file, stamp) if file else None
    if kept is not None:
        with suppress(KeyError, TypeError, ValueError):  # JSON, and not ours
            return _manager(kept, root)
    building()
    manager = build()
    if file:
        keep(manager, root, file, stamp)
    return manager


def stamp_of(root: Path) -> Stamp:
    """What tells one state of a folder of task files from another, without reading them."""
    count = newest = size = 0
    for entry in _files(root):
        told = entry.stat()
        count, newest, size = count + 1, max(newest, told.st_mtime_ns), size + told.st_size
    made: Stamp = {"format": _FORMAT, "lm_eval": version("lm_eval"), "root": str(root)}
    return made | {"files": count, "newest": newest, "size": size}


def _files(folder: str | Path) -> "Iterator[os.DirEntry[str]]":
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file():
                yield entry
            elif entry.is_dir() and entry.name != _LEFT_OUT:
                yield from _files(entry.path)


def keep(manager: Manager, root: Path, file: Path, stamp: Stamp) -> None:
    """Write an index down, if it can be written and read back as it is."""
    with suppress(FinetuneError, OSError, TypeError, ValueError):
        tasks = [_plain(entry, root) for entry in manager.task_index.values()]
        text = json.dumps({"stamp": stamp, "tasks": tasks}, ensure_ascii=False, separators=(",", ":"))
        if json.loads(text)["tasks"] == tasks:  # keys that are no text would come back as text
            with whole_file(file) as partial:
                partial.write_text(text, "utf-8")


def _plain(entry: Any, root: Path) -> list[Any]:
    path = entry.yaml_path.relative_to(root).as_posix() if entry.yaml_path else None
    return [entry.name, entry.kind.name, path, entry.cfg, sorted(entry.tags)]


def _read(file: Path, stamp: Stamp) -> list[Any] | None:
    try:
        with uncollected():
            kept = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return kept.get("tasks") if isinstance(kept, dict) and kept.get("stamp") == stamp else None


def _manager(kept: list[Any], root: Path) -> Manager:
    from lm_eval.tasks import TaskManager

    with uncollected():
        index = {name: _entry(root, name, *rest) for name, *rest in kept}
    manager = TaskManager(include_defaults=False)
    manager._index = index
    manager._all_tasks = sorted(index)
    manager._all_subtasks = sorted(name for name, entry in index.items() if entry.kind.name in ("TASK", "PY_TASK"))
    manager._all_groups = sorted(name for name, entry in index.items() if entry.kind.name == "GROUP")
    manager._all_tags = sorted(name for name, entry in index.items() if entry.kind.name == "TAG")
    return manager


def _entry(root: Path, name: str, kind: str, path: str | None, settings: dict[str, Any] | None, tags: list[str]) -> Any:
    from lm_eval.tasks._index import Entry, Kind

    if path is not None and (".." in path or PurePosixPath(path).is_absolute()):
        raise ValueError(f"{path} is not within the folder of tasks")  # its functions would be run
    return Entry(name, Kind[kind], root / path if path else None, settings, set(tags))
