"""Benchmarks from files of the user's: MMLU's original CSV layout, and any task's data set beside it."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.catalog import Manager, resolve
from benchmarks.errors import BenchmarkError, unknown_name
from benchmarks.loading import Task, one_line
from benchmarks.quiet import quiet

Doc = dict[str, Any]  # question, subject, choices, answer (0 to 3): as in the hub's data set

_LETTERS = "ABCD"
_SUFFIXES = (".jsonl", ".json", ".parquet")


def read_subjects(folder: str | Path, subjects: Sequence[str] | None = None) -> dict[str, dict[str, list[Doc]]]:
    """Read `FOLDER/dev/SUBJECT_dev.csv` and `FOLDER/test/SUBJECT_test.csv`.

    The files have no header and six columns: question, four choices, the letter of the right one.

    Args:
        folder: Holds the folders `dev` (examples) and `test`.
        subjects: Only these; every subject with a test file when not given.

    Returns:
        Documents by subject, in alphabetical order, and split (`dev`, `test`).

    Raises:
        BenchmarkError: If a folder or file is missing, a subject unknown, or a row not as wanted (with file and line).
    """
    folder = Path(folder)
    found = _find_subjects(folder)
    wanted = found if subjects is None else sorted(set(subjects))
    if not wanted:
        raise BenchmarkError("--subjects is empty; name some, or leave it out for all there are")
    for subject in wanted:
        if subject not in found:
            raise unknown_name(f"subject in {folder}", subject, found)
    splits = ("dev", "test")
    return {s: {split: _read_csv(folder / split / f"{s}_{split}.csv", s) for split in splits} for s in wanted}


def _find_subjects(folder: Path) -> list[str]:
    layout = f"wanted {folder}/dev/SUBJECT_dev.csv and {folder}/test/SUBJECT_test.csv"
    if not folder.is_dir():
        raise BenchmarkError(f"{layout}, but {folder} is {'a file' if folder.exists() else 'not there'}")
    for split in ("dev", "test"):
        if not (folder / split).is_dir():
            raise BenchmarkError(f"{layout}, but there is no folder {folder / split}")
    found = sorted(path.name.removesuffix("_test.csv") for path in (folder / "test").glob("*_test.csv"))
    if not found:
        raise BenchmarkError(f"{layout}, but {folder / 'test'} holds no *_test.csv")
    return found


def _read_csv(path: Path, subject: str) -> list[Doc]:
    if not path.is_file():
        raise BenchmarkError(f"subject {subject}: wanted {path}, found none")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            docs = [_doc(row, subject, f"{path}, line {reader.line_num}") for row in reader if row]
    except UnicodeDecodeError as error:
        raise BenchmarkError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    except csv.Error as error:
        raise BenchmarkError(f"{path} is not CSV: {error} at line {reader.line_num}") from None
    if not docs:
        raise BenchmarkError(f"subject {subject}: {path} holds no questions")
    return docs


def _doc(row: list[str], subject: str, where: str) -> Doc:
    if len(row) != 6:
        raise BenchmarkError(f"{where}: wanted 6 columns (question, 4 choices, letter), found {len(row)}")
    letter = row[5].strip()
    if len(letter) != 1 or letter not in _LETTERS:
        raise BenchmarkError(f"{where}: wanted a letter from A to D in column 6, found {row[5]!r}")
    return {"question": row[0], "subject": subject, "choices": row[1:5], "answer": _LETTERS.index(letter)}


def local_task(name: str, folder: str | Path, manager: Manager) -> Task:
    """A task of lm-eval's whose data set is replaced by files of the user's.

    Args:
        name: One task; a group has several data sets, so its tasks are given one by one.
        folder: Holds a file for each split the task uses, named after it, with the fields of the hub's data
            set: `test.jsonl`, `validation.parquet`, `train.json` (a list), ...
        manager: See `benchmarks.catalog.task_manager`.

    Returns:
        The task, loaded: `run_tasks` takes it.

    Raises:
        BenchmarkError: If there is no such task, it brings its own data, or files are missing or unreadable.
    """
    folder = Path(folder)
    override = _override(name, folder, manager)
    # An inline group is lm-eval's way to take a known task and change some of it.
    group = {"group": f"local {name}", "task": [{"task": name, **override}]}
    with quiet(), one_line(name):
        return manager.load([group])["tasks"][name]


def _override(name: str, folder: Path, manager: Manager) -> dict[str, Any]:
    """What changes in a task's settings: where its data come from, and the splits that the files lack."""
    config = _config(name, manager)
    found = _split_files(folder)
    scored = config.get("test_split") or config.get("validation_split")
    if scored not in found:
        have = ", ".join(sorted(found)) or "no such files"
        raise BenchmarkError(
            f"--local {name}={folder}: the task is scored on {scored!r}, wanted {folder}/{scored}.jsonl "
            f"(or .json, .parquet), found {have}"
        )
    used = (config.get(split) for split in ("training_split", "validation_split", "test_split", "fewshot_split"))
    missing = {split for split in used if split and split not in found}

    def datasets_of_splits(**_: Any) -> dict[str, Any]:
        made = {split: _read_split(path) for split, path in found.items()}
        # lm-eval looks into every split it knows of, even with 0 shots; examples wanted from an empty one are missed.
        return made | {split: made[scored].select([]) for split in missing}

    return {"custom_dataset": datasets_of_splits, "dataset_kwargs": None}


def _config(name: str, manager: Manager) -> dict[str, Any]:
    (name,) = resolve([name], manager)
    entry = manager.task_index.get(name)
    if entry is None or entry.kind.name != "TASK":
        kind = "a task file" if entry is None else entry.kind.name.lower().replace("py_task", "Python code")
        raise BenchmarkError(f"--local {name}: wanted one task that reads a data set, but it is {kind}")
    config: dict[str, Any] = entry.cfg
    return config


def _split_files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise BenchmarkError(f"wanted a folder of split files (test.jsonl, ...) at {folder}, found none")
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in _SUFFIXES}


def _read_split(path: Path) -> Any:
    """A split in memory: reading it through `load_dataset` would leave a copy in the user's cache."""
    from datasets import Dataset

    if path.suffix == ".parquet":
        return _read_parquet(path)
    docs = list(_read_json(path))
    if not docs:
        raise BenchmarkError(f"{path} is empty")
    return Dataset.from_list(docs)


def _read_parquet(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet
    from datasets import Dataset
    from datasets.table import InMemoryTable

    try:
        return Dataset(InMemoryTable(pyarrow.parquet.read_table(path)))
    except pyarrow.ArrowInvalid as error:
        raise BenchmarkError(f"{path} is not parquet: {error}") from None


def _read_json(path: Path) -> Iterator[Doc]:
    text = path.read_text("utf-8-sig")
    if text.lstrip().startswith("["):
        yield from _parse(text, path, 1)
        return
    # Split on "\n" only: JSON strings may hold other characters that splitlines() takes for line ends.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _parse(line, path, number)


def _parse(text: str, path: Path, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = error.lineno + first_line - 1
        raise BenchmarkError(f"{path} is not JSON: {error.msg} at line {line}, column {error.colno}") from None
    except RecursionError:
        raise BenchmarkError(f"{path}: wanted documents, found brackets nested too deep at line {first_line}") from None
