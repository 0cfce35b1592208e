"""The user's rows held against what a task reads of them, so that a row that will not do is named before any call."""

import ast
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.index.members import Settings
from benchmarks.sources.json_rows import json_rows
from benchmarks.sources.missing_data import TEMPLATES, fields_read, is_function

Doc = dict[str, Any]
Prepare = Callable[[Any], Any]  # a task's `process_docs`: a split as the task uses it

_SHOWN = 8  # names of fields


def check_rows(settings: Settings, rows: Any, paths: Sequence[Path], *, scored: bool) -> None:
    """Read every row as the task's templates will.

    Args:
        settings: Of the task; what Python code of its own reads is not looked at.
        rows: The split as it was read, or as the task has prepared it.
        paths: Its files.
        scored: Whether these are scored, so that a choice that is blank matters.

    Raises:
        BenchmarkError: If a row lacks a field, cannot be read, or has a blank choice: file, line, and which.
    """
    templates = _templates(settings)
    if not templates:
        return
    # As the files have them: in a `Dataset` a field that one row lacks is there, and null.
    same = not settings.get("process_docs")
    placed = enumerate(_as_written(paths) if same and paths[0].suffix in (".json", ".jsonl") else rows)
    for number, doc in placed:
        wrong = _complaint(settings, templates, doc, scored=scored)
        if wrong:
            whole = same or len(rows) == sum(1 for _ in _places(paths))
            where = place_of(paths, number) if whole else f"{paths[0]}, document {number + 1} as the task prepares it"
            raise BenchmarkError(f"{where}: {wrong}")


def said_with_its_row(prepare: Prepare, paths_of: Callable[[Any], Sequence[Path] | None]) -> Prepare:
    """A task's `process_docs` that, where it fails, says of which row.

    Args:
        prepare: The task's own.
        paths_of: The files of a split that it is given, None if it is not the user's.
    """

    def prepared(rows: Any) -> Any:
        try:
            return prepare(rows)
        except Exception as error:
            paths = paths_of(rows)
            if not paths or not len(rows):
                raise
            number = _first_failing(prepare, rows)
            raise BenchmarkError(f"{place_of(paths, number)}: {_unprepared(rows[number], error)}") from None

    return prepared


def _first_failing(prepare: Prepare, rows: Any) -> int:
    """Place of the first row with which preparing fails."""
    good, bad = 0, len(rows)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            prepare(rows.select(range(good, middle)))
            good = middle
        except Exception:  # whatever a task's own code raises
            bad = middle
    return good


def _unprepared(doc: Doc, error: Exception) -> str:
    if isinstance(error, KeyError) and error.args and error.args[0] not in doc:
        return _lacks([str(error.args[0])], doc)
    empty = [name for name, value in doc.items() if value is None]
    if empty:
        return f"the task cannot use it, and it has nothing in {_quoted(empty)}"
    return f"the task cannot use it: {type(error).__name__}: {_first_line(error)}"


def place_of(paths: Sequence[Path], number: int) -> str:
    """Where a row of a split stands, counted from 0 over all its files: "FILE, line 3", or row where it has none."""
    return next(islice(_places(paths), number, None), str(paths[0]))


def _places(paths: Sequence[Path]) -> Iterator[str]:
    from benchmarks.sources.split_files import read_split

    for path in paths:
        if path.suffix in (".json", ".jsonl"):
            yield from (where for where, _ in json_rows(path))
        else:
            yield from (f"{path}, row {number}" for number in range(1, len(read_split([path])) + 1))


def _as_written(paths: Sequence[Path]) -> Iterator[Doc]:
    return (doc for path in paths for _, doc in json_rows(path))


def _templates(settings: Settings) -> dict[str, str]:
    found = {name: settings.get(name) for name in TEMPLATES}
    return {name: value for name, value in found.items() if isinstance(value, str) and not is_function(value)}


def _complaint(settings: Settings, templates: dict[str, str], doc: Doc, *, scored: bool) -> str | None:
    """What is wrong with a row, None if nothing is."""
    from lm_eval.utils import env

    try:
        read = {name: _read(template, doc) for name, template in templates.items()}
        choices = _choices(read["doc_to_choice"]) if "doc_to_choice" in read else []
    except Exception as error:  # jinja's own, and whatever a template's expressions raise
        known = doc.keys() | env.globals.keys()
        missing = [field for field in fields_read(settings, prepared=True) if field not in known]
        return _lacks(missing, doc) if missing else f"the task cannot read it: {_first_line(error)}"
    blank = [str(number) for number, choice in enumerate(choices, 1) if not str(choice).strip()]
    if scored and blank and settings.get("output_type") == "multiple_choice":
        which = f"choice {blank[0]} is" if len(blank) == 1 else f"choices {' and '.join(blank)} are"
        return f"its {which} empty, so that there is nothing to score; mend or remove the row"
    return None


def _read(template: str, doc: Doc) -> Any:
    """A field, or a template filled in, as lm-eval does it."""
    from lm_eval.utils import apply_template

    return doc[template] if template in doc or template.isidentifier() else apply_template(template, doc)


def _choices(read: Any) -> list[Any]:
    found = ast.literal_eval(read) if isinstance(read, str) else read
    return list(found.values() if isinstance(found, dict) else found)


def _lacks(missing: Sequence[str], doc: Doc) -> str:
    there = ", ".join(list(doc)[:_SHOWN]) + (", ..." if len(doc) > _SHOWN else "")
    return f"wanted a field {_quoted(missing)}, found {there or 'none'}; add it, named as in the hub's data set"


def _quoted(names: Sequence[str]) -> str:
    return " and ".join(map(repr, names))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
