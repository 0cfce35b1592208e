"""MMLU's questions from files: the original CSV layout, the hub data set's, or a hub cache that holds it."""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError, unknown_name
from benchmarks.sources.hub_cache import snapshot_in
from benchmarks.sources.json_rows import json_rows
from benchmarks.sources.mmlu_rows import Doc, from_columns, from_fields

Splits = dict[str, list[Doc]]  # "dev", the examples, and "test"
Source = dict[str, Callable[[], Splits]]  # how each subject that a layout holds is read

_SPLITS = ("dev", "test")
_HUB_FILE = re.compile(r"(?P<split>dev|test)(?:-(?P<part>\d+)(?:-of-(?P<parts>\d+))?)?\.(?P<form>parquet|jsonl|json)")
_JOINT = "all"  # the hub's folder of every subject's questions together
_NO_SUBJECT = (_JOINT, "auxiliary_train")


def read_subjects(
    folder: str | Path, subjects: Sequence[str] | None = None, groups: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Splits]:
    """Read MMLU's questions, or those of a quiz of the same form.

    Any of these in `folder`, in its `data` folder, or in the snapshot of a hub cache that `folder` is or holds:
    `dev/SUBJECT_dev.csv` and `test/SUBJECT_test.csv`, six columns without a header; a folder for each subject with
    `dev` and `test` files (`test-00000-of-00001.parquet`, `test.jsonl`); the same files of all subjects together,
    in a folder `all` or on top.

    Args:
        folder: See above.
        subjects: Only these; every subject with a test file when not given.
        groups: Names that stand for several subjects: for as many of them as there are.

    Returns:
        Documents by subject, in alphabetical order, and split (`dev`, `test`): the same whatever the form.

    Raises:
        BenchmarkError: If a folder or file is missing, a subject unknown, a row not as wanted (with file and line
            or row), or two forms side by side differ.
    """
    folder = Path(folder)
    sources = _sources(folder)
    found = sorted({subject for source in sources for subject in source})
    wanted = found if subjects is None else _wanted(subjects, found, groups or {}, folder)
    return {subject: _read(subject, sources, folder) for subject in wanted}


def subjects_in(folder: str | Path) -> list[str]:
    """The subjects that `read_subjects` finds, in alphabetical order; none where it finds no layout."""
    try:
        return sorted({subject for source in _sources(Path(folder)) for subject in source})
    except BenchmarkError:
        return []


def _wanted(names: Sequence[str], found: Sequence[str], groups: Mapping[str, Sequence[str]], folder: Path) -> list[str]:
    if not names:
        raise BenchmarkError("--subjects is empty; name some, or leave it out for all there are")
    there = {name: [s for s in own if s in found] for name, own in groups.items()}
    known = {name: own for name, own in there.items() if own} | {subject: [subject] for subject in found}
    for name in names:
        if name not in known:
            raise unknown_name(f"subject in {folder}", name, known)
    return sorted({subject for name in names for subject in known[name]})


def _read(subject: str, sources: Sequence[Source], folder: Path) -> Splits:
    first, *others = [source[subject]() for source in sources if subject in source]
    if any(other != first for other in others):
        raise BenchmarkError(f"subject {subject} is in {folder} twice, with different questions; remove one of the two")
    return first


def _sources(folder: Path) -> list[Source]:
    layouts = (
        f"wanted {folder}/dev/SUBJECT_dev.csv and {folder}/test/SUBJECT_test.csv, "
        f"or {folder}/SUBJECT/test-*.parquet (or .jsonl) as on the hub"
    )
    if not folder.is_dir():
        raise BenchmarkError(f"{layouts}, but {folder} is {'a file' if folder.exists() else 'not there'}")
    for root in (folder, folder / "data", snapshot_in(folder)):
        if root is not None and root.is_dir():
            found = [source for source in (_csv_source(root), _folders_source(root), *_joint_sources(root)) if source]
            if found:
                return found
    raise BenchmarkError(f"{layouts}, but there is neither")


def _csv_source(root: Path) -> Source:
    names = sorted(path.name.removesuffix("_test.csv") for path in (root / "test").glob("*_test.csv"))
    return {name: partial(_csv_splits, root, name) for name in names}


def _csv_splits(root: Path, subject: str) -> Splits:
    return {split: _read_csv(root / split / f"{subject}_{split}.csv", subject) for split in _SPLITS}


def _read_csv(path: Path, subject: str) -> list[Doc]:
    if not path.is_file():
        raise BenchmarkError(f"subject {subject}: wanted {path}, found none")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            docs = [from_columns(row, subject, f"{path}, line {reader.line_num}") for row in reader if row]
    except UnicodeDecodeError as error:
        raise BenchmarkError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    except csv.Error as error:
        raise BenchmarkError(f"{path} is not CSV: {error} at line {reader.line_num}") from None
    if not docs:
        raise BenchmarkError(f"subject {subject}: {path} holds no questions")
    return docs


def _folders_source(root: Path) -> Source:
    """Subjects with a folder of their own."""
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and path.name not in (*_NO_SUBJECT, *_SPLITS)]
    return {path.name: partial(_folder_splits, path) for path in folders if _files(path, "test")}


def _folder_splits(folder: Path) -> Splits:
    return {split: list(_read_split(folder, split, folder.name)) for split in _SPLITS}


def _joint_sources(root: Path) -> Iterator[Source]:
    """Files of all subjects together."""
    for folder in (root / _JOINT, root):
        if folder.is_dir() and _files(folder, "test"):
            dev = _by_subject(_read_split(folder, "dev", None))
            test = _by_subject(_read_split(folder, "test", None))
            yield {subject: partial(_joint_splits, subject, dev, test[subject], folder) for subject in test}


def _joint_splits(subject: str, dev: dict[str, list[Doc]], test: list[Doc], folder: Path) -> Splits:
    if subject not in dev:
        raise BenchmarkError(f"subject {subject}: wanted its examples in the dev file of {folder}, found none")
    return {"dev": dev[subject], "test": test}


def _by_subject(docs: Iterator[Doc]) -> dict[str, list[Doc]]:
    ordered = sorted(docs, key=lambda doc: str(doc["subject"]))  # a stable sort: questions keep their order
    return {subject: list(own) for subject, own in groupby(ordered, key=lambda doc: str(doc["subject"]))}


def _files(folder: Path, split: str) -> list[tuple[Path, re.Match[str]]]:
    """A split's files, its parts in order."""
    named = [(path, match) for path in folder.iterdir() if (match := _HUB_FILE.fullmatch(path.name))]
    own = [(path, match) for path, match in named if match["split"] == split]
    return sorted(own, key=lambda each: (int(each[1]["part"] or 0), each[0].name))


def _read_split(folder: Path, split: str, subject: str | None) -> Iterator[Doc]:
    files = _files(folder, split)
    if not files:
        raise BenchmarkError(f"wanted {folder}/{split}-*.parquet (or {split}.jsonl), found none")
    forms = sorted({match["form"] for _, match in files})
    parts = {int(match["parts"]) for _, match in files if match["parts"]}
    if len(forms) > 1:
        raise BenchmarkError(f"{folder}: wanted one form of {split}, found {' and '.join(forms)}; remove one of them")
    if parts and parts != {len(files)}:
        raise BenchmarkError(f"{folder}: wanted all {max(parts)} parts of {split}, found {len(files)}")
    empty = True
    for path, _ in files:
        for where, row in _parquet_rows(path) if path.suffix == ".parquet" else json_rows(path):
            empty = False
            yield from_fields(row, subject, where)
    if empty:
        raise BenchmarkError(f"{files[0][0]} holds no questions")


def _parquet_rows(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise BenchmarkError(f"{path} is not parquet: {str(error).splitlines()[0]}") from None
    for number, row in enumerate(rows, 1):
        yield f"{path}, row {number}", row
