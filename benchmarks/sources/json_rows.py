"""The values of a JSON or JSONL file, each with where it stands."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError


def json_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Place ("FILE, line 3") and value of every line, or of every item of the one list that the file holds.

    Raises:
        BenchmarkError: If the file is not UTF-8 or not JSON, with the place.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchmarkError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    if text.lstrip().startswith("["):
        for number, row in enumerate(_parsed(text, path, 1), 1):
            yield f"{path}, item {number}", row
        return
    # Split on "\n" only: JSON strings may hold other characters that splitlines() takes for line ends.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{path}, line {number}", _parsed(line, path, number)


def _parsed(text: str, path: Path, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = error.lineno + first_line - 1
        raise BenchmarkError(f"{path} is not JSON: {error.msg} at line {line}, column {error.colno}") from None
    except RecursionError:
        raise BenchmarkError(f"{path} is not JSON: brackets nested too deep at line {first_line}") from None
    except ValueError:  # Python's limit on the digits of a number, beside errors of syntax the only one
        raise BenchmarkError(
            f"{path} is not JSON that can be read: a number has too many digits at or after line {first_line}"
        ) from None
