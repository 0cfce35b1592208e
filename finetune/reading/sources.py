"""Where raw entries come from: JSON, JSONL, CSV and Parquet files, folders of them, the hub."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from finetune.errors import FinetuneError
from finetune.reading.hub import HUB, hub_name, read_hub
from finetune.reading.shards import find_shards, shards_name
from finetune.reading.tables import read_parquet

_LONGEST_HEADER = 10_000  # characters of it that are looked at for the delimiter
_LONGEST_FIELD = 2**31 - 1  # characters; csv's own limit, 131,072, is shorter than some answers


def read_raw(source: str | Path) -> Iterator[Any]:
    """The entries of a source as they stand there, one by one.

    Args:
        source: A file, told apart by its ending (`.csv`, `.tsv`, `.parquet`; any other is JSON or JSONL); a
            folder of such files, `FOLDER` or `FOLDER:SPLIT`; or `hf:ORG/NAME[@REVISION][:SPLIT]`.

    Raises:
        FinetuneError: If there is nothing, several splits to choose from, or a file is not what its ending says.
    """
    if str(source).startswith(HUB):
        yield from read_hub(str(source))
        return
    shards = find_shards(Path(source))
    for path in [Path(source)] if shards is None else shards:
        yield from _read_file(path)


def source_name(source: str | Path) -> str:
    """What a source is called: a file without its ending, a folder, the last part of a hub name."""
    if str(source).startswith(HUB):
        return hub_name(str(source))
    return shards_name(Path(source))


def _read_file(path: Path) -> Iterator[Any]:
    kind, read = READERS.get(path.suffix.lower(), ("JSON or JSONL", _read_json))
    if not path.exists():
        raise FinetuneError(f"wanted a {kind} file at {path}, found none")
    yield from read(path)


def _read_text(path: Path, newline: str | None = None) -> str:
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise FinetuneError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise FinetuneError(f"wanted to read {path}: {error.strerror}") from None


def _read_json(path: Path) -> Iterator[Any]:
    text = _read_text(path)
    if text.lstrip().startswith("["):
        yield from _parse(text, path, first_line=1)
        return
    # Split on "\n" only: JSON strings may hold other characters that splitlines() takes for line ends.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _parse(line, path, first_line=number)


def _parse(text: str, path: Path, *, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = error.lineno + first_line - 1
        raise FinetuneError(f"{path} is not JSON: {error.msg} at line {line}, column {error.colno}") from None
    except RecursionError:
        raise FinetuneError(f"{path}: wanted entries, found brackets nested too deep at line {first_line}") from None
    except ValueError:  # Python's limit on the digits of a number, beside errors of syntax the only one
        raise FinetuneError(
            f"{path}: wanted entries, found a number of too many digits at or after line {first_line}"
        ) from None


def _read_csv(path: Path) -> Iterator[Any]:
    """Rows under a header; between commas, semicolons or tabs, whichever the header has most of."""
    text = _read_text(path, newline="")  # those inside quotes are the user's own
    header = text.lstrip("\r\n")[:_LONGEST_HEADER].splitlines()[:1]
    delimiter = max(",;\t", key="".join(header).count)
    csv.field_size_limit(_LONGEST_FIELD)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        filled = (row for row in rows if row)
        names = _columns(next(filled, []), path)
        for row in filled:
            if len(row) != len(names):
                raise FinetuneError(
                    f"{path}: wanted {len(names)} columns ({', '.join(names)}) in the row that ends at line "
                    f"{rows.line_num}, found {len(row)}; quote fields that hold {_SPOKEN[delimiter]} or line ends"
                )
            yield dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise FinetuneError(f"{path} is not CSV: {error} at line {rows.line_num}") from None


_SPOKEN = {",": "commas", ";": "semicolons", "\t": "tabs"}


def _columns(header: list[str], path: Path) -> list[str]:
    names = [name.strip() for name in header]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise FinetuneError(f"{path}: wanted a header that names each column once, found {twice!r} twice")
    return names


READERS: dict[str, tuple[str, Callable[[Path], Iterator[Any]]]] = {
    ".csv": ("CSV", _read_csv),
    ".tsv": ("TSV", _read_csv),
    ".parquet": ("Parquet", read_parquet),
}
