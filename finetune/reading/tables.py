"""Arrow tables: their rows as plain JSON values, a batch at a time."""

import base64
import math
from collections.abc import Iterator
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

from finetune.errors import FinetuneError

_BATCH = 1024  # rows; a whole table as Python objects would be many times the file


def read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file.

    Raises:
        FinetuneError: If it is none, or the reader is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise FinetuneError(f"{path}: reading Parquet needs pyarrow; pip install pyarrow") from None
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                yield from plain_rows(batch)
    except (pa.ArrowException, OSError) as error:
        raise FinetuneError(f"{path} is not Parquet, or damaged: {' '.join(str(error).split())[:200]}") from None


def plain_rows(batch: Any) -> Iterator[dict[str, Any]]:
    """The rows of an Arrow table or record batch, every value as JSON can hold it."""
    for row in batch.to_pylist():
        yield {str(name): plain(value) for name, value in row.items()}


def plain(value: Any) -> Any:
    """A value as JSON can hold it, so that an entry is the same from Parquet and from JSON.

    Dates become ISO text, spans of time seconds, bytes base64, what is not a finite number null, arrays lists,
    anything else its text.
    """
    if value is None or isinstance(value, str | int):  # nearly all there is
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    return _spelled_out(value)


def _spelled_out(value: Any) -> Any:
    """The JSON form of what JSON has no form for."""
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    # NumPy arrays and numbers, which Python's own types stand for.
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)
