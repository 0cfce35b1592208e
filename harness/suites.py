"""Benchmarks by the names people know, as what `harness.benchmark` runs."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from harness.benchmark import Suite, digest_of
from harness.errors import HarnessError


def mmlu_suite(subjects: Sequence[str] | None, folder: Path | None) -> Suite:
    """MMLU, or some subjects of it, from the hub or from a folder in the original CSV layout.

    Raises:
        BenchmarkError: If a subject is unknown or the folder is not as wanted.
    """
    from benchmarks.catalog import task_manager
    from benchmarks.presets import mmlu_tasks

    once = None if subjects is None else list(dict.fromkeys(subjects))
    specs = mmlu_tasks(once, folder)
    manager = None if folder else task_manager()
    return Suite("mmlu", specs, digest_of(once or ["all"], folder), manager)


def quiz_suite() -> Suite:
    """The embedded quiz, four choices in MMLU's layout."""
    from benchmarks.presets import quiz_tasks

    folder = Path(str(files("benchmarks"))) / "data" / "quiz"
    return Suite("quiz", quiz_tasks(folder), digest_of(["quiz"], folder))


def task_suites(names: Sequence[str], local: Sequence[str]) -> list[Suite]:
    """lm-eval tasks, each a metric of its own; those that `local` lists as NAME=DIR on the user's files.

    Raises:
        BenchmarkError: If a task is unknown or a folder is not as wanted.
        HarnessError: If no task is named, or a local folder is for a task that is not run.
    """
    from benchmarks.catalog import resolve, task_manager
    from benchmarks.offline import local_task

    if not names:
        raise HarnessError("wanted a task name or several with commas between, found none; see `ift-eval tasks`")
    folders = dict(_local_folder(text) for text in local)
    for name in folders:
        if name not in names:
            raise HarnessError(f"--local {name}=...: {name} is not among the tasks to run ({', '.join(names)})")
    manager = task_manager()
    resolve(names, manager)
    suites = []
    for name in names:
        folder = folders.get(name)
        specs = [local_task(name, folder, manager)] if folder else [name]
        suites.append(Suite(name, specs, digest_of([name], folder), manager))
    return suites


def _local_folder(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals or not folder:
        raise HarnessError(f"--local {text}: wanted NAME=DIR")
    return name, Path(folder)
