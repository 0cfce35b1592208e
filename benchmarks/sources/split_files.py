"""The files of a data set's splits, in the layouts people have, read into memory."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.sources.json_rows import json_rows

Doc = dict[str, Any]

SUFFIXES = (".jsonl", ".json", ".parquet", ".csv")
_SHARD = re.compile(r"(?P<split>.+?)(-\d{5}-of-\d{5})?$")  # as the hub cuts large splits


def split_files(folder: Path) -> dict[str, list[Path]]:
    """Files by split: `test.jsonl`, or the hub's `test-00000-of-00002.parquet` and so on, in order.

    A split in several formats is taken in the first of jsonl, json, parquet, csv.
    """
    found: dict[str, list[Path]] = {}
    for suffix in SUFFIXES:
        own: dict[str, list[Path]] = {}
        for path in sorted(folder.glob(f"*{suffix}")):
            match = _SHARD.match(path.stem)
            if match and path.is_file():
                own.setdefault(match["split"], []).append(path)
        found = own | found
    return found


def read_split(paths: Sequence[Path]) -> Any:
    """A split as a `datasets.Dataset` in memory: reading it through `load_dataset` would leave a copy in the cache.

    Raises:
        BenchmarkError: If a file is empty or not what its name says, with file and line.
    """
    from datasets import Dataset, concatenate_datasets

    if paths[0].suffix in (".parquet", ".csv"):
        read = _read_parquet if paths[0].suffix == ".parquet" else _read_csv
        parts = [read(path) for path in paths]
        return parts[0] if len(parts) == 1 else concatenate_datasets(parts)
    docs = [_document(doc, where) for path in paths for where, doc in json_rows(path)]
    if not docs:
        raise BenchmarkError(f"{paths[0]} is empty")
    try:
        return Dataset.from_list(docs)
    except Exception as error:  # pyarrow has no common parent for what it says of values that do not fit
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BenchmarkError(f"{paths[0]}: wanted one kind of value in each field: {said}") from None


def _read_parquet(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet
    from datasets import Dataset
    from datasets.table import InMemoryTable

    try:
        return Dataset(InMemoryTable(pyarrow.parquet.read_table(path)))
    except pyarrow.ArrowInvalid as error:
        raise BenchmarkError(f"{path} is not parquet: {error}") from None


def _read_csv(path: Path) -> Any:
    import pyarrow
    import pyarrow.csv
    from datasets import Dataset
    from datasets.table import InMemoryTable

    quoted = pyarrow.csv.ParseOptions(newlines_in_values=True)
    try:
        return Dataset(InMemoryTable(pyarrow.csv.read_csv(path, parse_options=quoted)))
    except pyarrow.ArrowInvalid as error:
        raise BenchmarkError(f"{path} is not CSV with a header: {error}") from None


def _document(doc: Any, where: str) -> Doc:
    if not isinstance(doc, dict):
        raise BenchmarkError(f'{where}: wanted a document ({{"field": value, ...}}), found {type(doc).__name__}')
    return doc
