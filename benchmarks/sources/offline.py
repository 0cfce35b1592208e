"""Any tasks of lm-eval's on files of the user's in place of their data sets."""

import copy
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError, unknown_name
from benchmarks.index.catalog import Manager, resolve
from benchmarks.index.members import Settings, members, scored_split
from benchmarks.loading import Task, one_line
from benchmarks.quiet import quiet
from benchmarks.sources.missing_data import TEMPLATES
from benchmarks.sources.row_check import Prepare, check_rows, said_with_its_row
from benchmarks.sources.split_files import SUFFIXES, read_split, split_files

_SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")


@dataclass(frozen=True)
class Localised:
    """An index in which some tasks read the user's files.

    Attributes:
        manager: For `run_tasks`: the tasks, and groups and tags of them, keep their names.
        files: Of each such task, by split.
    """

    manager: Manager
    files: dict[str, dict[str, list[Path]]]

    def digest(self, names: Sequence[str]) -> str:
        """Hash of these names and of every byte that is read for them, 8 hex digits."""
        whole = hashlib.sha256("\n".join(sorted(names)).encode())
        own = members(names, self.manager)
        for task in sorted(own.keys() & self.files.keys()):
            for split, paths in sorted(self.files[task].items()):
                whole.update(f"\n{task} {split} ".encode())
                for path in paths:
                    whole.update(path.read_bytes())
        return whole.hexdigest()[:8]


def localise(names: Sequence[str], local: Mapping[str, str | Path], manager: Manager) -> Localised:
    """Have tasks read local files.

    Args:
        names: What will be run: tasks, groups, tags.
        local: Folder by NAME: a task; a group or tag, for those of its tasks whose files are there; or a data set of
            the hub (`cais/mmlu`), for every task that reads it. Files are looked for in FOLDER/TASK,
            FOLDER/CONFIGURATION, FOLDER/data and FOLDER (see `benchmarks.sources.split_files`), with the fields of the
            hub's data set. A task's own name counts before a group's.
        manager: See `benchmarks.index.catalog.task_manager`.

    Raises:
        BenchmarkError: If a NAME is unknown or stands for nothing that will be run, or files are missing.
    """
    run = members(names, manager)
    wanted = {name: (_tasks_of(name, run, manager, names), Path(folder)) for name, folder in local.items()}
    files: dict[str, dict[str, list[Path]]] = {}
    for name, (tasks, folder) in sorted(wanted.items(), key=lambda item: -len(item[1][0])):
        files |= _files_of(name, tasks, folder)
    if not files:
        return Localised(manager, {})
    local_manager = copy.copy(manager)
    changed = {task: _entry(manager.task_index[task], run[task], own) for task, own in files.items()}
    local_manager._index = {**manager.task_index, **changed}
    return Localised(local_manager, files)


def local_task(name: str, folder: str | Path, manager: Manager) -> Task:
    """One task on local files, loaded: `run_tasks` takes it. See `localise`.

    Raises:
        BenchmarkError: If there is no such task, it brings its own data, or files are missing or unreadable.
    """
    (name,) = resolve([name], manager)
    made = localise([name], {name: folder}, manager).manager
    with quiet(), one_line(name):
        return made.load([name])["tasks"][name]


def _tasks_of(name: str, run: Mapping[str, Settings], manager: Manager, names: Sequence[str]) -> dict[str, Settings]:
    """What a NAME of `--local` stands for among the tasks to run."""
    data_sets = {str(settings["dataset_path"]) for settings in run.values() if settings.get("dataset_path")}
    if name in manager.task_index:
        own = members([name], manager)
    elif name in data_sets:
        own = {task: settings for task, settings in run.items() if settings.get("dataset_path") == name}
    else:
        raise unknown_name("task or data set", name, {*manager.task_index, *data_sets})
    found = {task: run[task] for task in own if task in run}
    if not found:
        raise BenchmarkError(f"--local {name}=...: {name} is not among the tasks to run ({', '.join(names)})")
    return found


def _files_of(name: str, tasks: Mapping[str, Settings], folder: Path) -> dict[str, dict[str, list[Path]]]:
    """The split files of each task that has some."""
    if not folder.is_dir():
        raise BenchmarkError(f"--local {name}={folder}: wanted a folder of split files (test.jsonl, ...), found none")
    for task, settings in tasks.items():
        if not scored_split(settings):
            kind = "Python code" if "class" in settings else "a task without splits"
            raise BenchmarkError(f"--local {name}: wanted a task that reads a data set, but {task} is {kind}")
    # Files that lie bare are one task's, or of tasks that share one data set.
    shared = len({(settings.get("dataset_path"), settings.get("dataset_name")) for settings in tasks.values()}) == 1
    found = {task: _task_files(task, settings, folder, bare=shared) for task, settings in tasks.items()}
    there = {task: files for task, files in found.items() if files}
    if not there:
        task, settings = next(iter(tasks.items()))
        raise BenchmarkError(_nothing_found(name, task, settings, folder, alone=len(tasks) == 1))
    return there


def _nothing_found(name: str, task: str, settings: Settings, folder: Path, *, alone: bool) -> str:
    have = ", ".join(sorted(split_files(folder))) or "no such files"
    others = ", ".join(suffix for suffix in SUFFIXES if suffix != ".jsonl")
    place = folder if alone else folder / str(settings.get("dataset_name") or task)
    who = "the task is" if alone else f"of its tasks {task} is"
    return (
        f"--local {name}={folder}: {who} scored on {scored_split(settings)!r}, wanted "
        f"{place}/{scored_split(settings)}.jsonl (or {others}), found {have}"
    )


def _task_files(task: str, settings: Settings, folder: Path, *, bare: bool) -> dict[str, list[Path]]:
    config = str(settings.get("dataset_name") or "default")
    places = [folder / task, folder / config, folder / "data" / config]
    for place in [*places, *([folder / "data", folder] if bare else [])]:
        files = split_files(place) if place.is_dir() else {}
        if scored_split(settings) in files:
            return files
    return {}


def _entry(entry: Any, settings: Settings, files: Mapping[str, list[Path]]) -> Any:
    """The task's entry in lm-eval's index with other data: what its file says, the functions in it found later."""
    from lm_eval.tasks._yaml_loader import load_yaml

    scored, examples = str(scored_split(settings)), _examples(settings)
    checked = [split for split in dict.fromkeys((scored, examples)) if split is not None and split in files]
    read: dict[str, Any] = {}  # splits as the task gets them
    missing = {str(settings[key]) for key in _SPLITS if settings.get(key)} - files.keys()

    def datasets_of_splits(**_: Any) -> dict[str, Any]:
        made = {split: read_split(paths) for split, paths in files.items() if split in _wanted(settings)}
        read.update(made)
        for split in () if settings.get("process_docs") else checked:
            check_rows(settings, made[split], files[split], scored=split == scored)
        # lm-eval looks into every split it knows of, even with 0 shots; examples wanted from an empty one are missed.
        return made | {split: made[scored].select([]) for split in missing}

    with quiet(), one_line(entry.name):
        own = load_yaml(entry.yaml_path) if entry.yaml_path else dict(entry.cfg)
    own |= {"custom_dataset": datasets_of_splits, "dataset_kwargs": None}
    if callable(prepare := own.get("process_docs")):

        def split_of(rows: Any) -> str | None:
            return next((split for split, each in read.items() if each is rows), None)

        own["process_docs"] = _prepared(prepare, settings, files, split_of)
    return replace(entry, yaml_path=None, cfg=own)


def _prepared(
    prepare: Prepare, settings: Settings, files: Mapping[str, list[Path]], split_of: Callable[[Any], str | None]
) -> Prepare:
    """A task's `process_docs` that names the row with which it fails, or that the task cannot read afterwards."""
    said = said_with_its_row(prepare, lambda rows: files.get(split_of(rows) or ""))
    scored = scored_split(settings)

    def prepared(rows: Any) -> Any:
        made, split = said(rows), split_of(rows) or ""
        if split in files and split in (scored, _examples(settings)) and hasattr(made, "__len__"):
            check_rows(settings, made, files[split], scored=split == scored)
        return made

    return prepared


def _examples(settings: Settings) -> str | None:
    """The split that examples come from, where they are read as what is scored is."""
    own = settings.get("fewshot_config") or {}
    if any(name in own for name in (*TEMPLATES, "samples")):
        return None
    names = (settings.get(key) for key in ("fewshot_split", "training_split", "validation_split"))
    return next((str(name) for name in names if name), None)


def _wanted(settings: Settings) -> Iterable[str]:
    return {str(settings[key]) for key in _SPLITS if settings.get(key)}
