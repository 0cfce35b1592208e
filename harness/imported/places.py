"""Where results lie, and which tool made them: told by what files hold, not by their names alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.checkpoints import split_alias
from harness.errors import HarnessError

Kind = Literal["samples", "inspect", "table"]

_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_HEAD = 65536  # bytes that are looked at before a file is read
_ZIP, _PARQUET = b"PK", b"PAR1"
_LM_EVAL_LINE = {"doc_id", "filtered_resps"}
_LM_EVAL_RESULTS = {"results", "configs"}
_INSPECT_LOG = {"eval", "status", "version"}


@dataclass(frozen=True)
class Place:
    """Files of one kind that were named together.

    Attributes:
        text: As the user wrote it, without the name.
        name: What the user calls the checkpoint.
        kind: lm-eval's samples, Inspect's logs, or tables of ids and scores.
        files: One or more.
        folder: Whether a folder was named, in which some files may not count.
    """

    text: str
    name: str | None
    kind: Kind
    files: tuple[Path, ...]
    folder: bool = False


def find_place(text: str) -> Place:
    """Parse `[NAME=]PATH` and look what lies there.

    Raises:
        HarnessError: If there is nothing, or no results of single items.
    """
    name, path_text = split_alias(text)
    path = Path(path_text)
    if path.is_dir():
        return _folder(path, path_text, name)
    if not path.is_file():
        raise HarnessError(f"--results {path_text}: wanted a file or folder of results, found none; check the path")
    return Place(path_text, name, kind_of(path), (path,))


def _folder(path: Path, text: str, name: str | None) -> Place:
    samples = tuple(sorted(path.rglob("samples_*.jsonl")))
    if samples:
        return Place(text, name, "samples", samples, folder=True)
    logs = sorted(path.rglob("*.eval")) + [f for f in sorted(path.rglob("*.json")) if _whole_kind(f) == "inspect"]
    if logs:
        return Place(text, name, "inspect", tuple(logs), folder=True)
    tables = [f for f in sorted(path.iterdir()) if f.is_file() and f.suffix.lower() in _ENDINGS]
    for file in [*tables, *path.rglob("results_*.json")]:
        kind_of(file)  # raises for what is no table
    if not tables:
        wanted = ", ".join(("samples_*.jsonl", "*.eval", *(f"*{e}" for e in _ENDINGS)))
        raise HarnessError(
            f"--results {text}: wanted a folder with results ({wanted}), found none in it; name the file"
        )
    return Place(text, name, "table", tuple(tables), folder=True)


def kind_of(path: Path) -> Kind:
    """Which tool made a file.

    Raises:
        HarnessError: If it is empty, binary, or holds averages only.
    """
    head = _head(path)
    if head.startswith(_ZIP):
        return "inspect"
    if head.startswith(_PARQUET) or path.suffix.lower() == ".parquet":
        return "table"
    if not head.strip():
        raise HarnessError(f"--results {path}: wanted results, found an empty file")
    if b"\0" in head:
        raise HarnessError(
            f"--results {path}: wanted lm-eval's samples, Inspect's logs, JSON, CSV or Parquet, found binary data"
        )
    if path.suffix.lower() in (".csv", ".tsv"):
        return "table"
    first = _object(head.lstrip(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0])
    if first is not None and first.keys() >= _LM_EVAL_LINE:
        return "samples"
    # A sample with a long document does not fit into what is looked at, but its first field does.
    if first is None and len(head) == _HEAD and head.lstrip().startswith(b'{"doc_id": '):
        return "samples"
    return _whole_kind(path) or "table"


def _whole_kind(path: Path) -> Kind | None:
    """Of a file that is one JSON object.

    Raises:
        HarnessError: If it holds lm-eval's averages.
    """
    head = _head(path).lstrip()
    if not head.startswith(b"{") or not (b'"results"' in head or b'"eval"' in head):
        return None
    try:
        whole = _object(path.read_bytes())
    except OSError:
        return None
    if whole is None:
        return None
    if whole.keys() >= _INSPECT_LOG:
        return "inspect"
    if whole.keys() >= _LM_EVAL_RESULTS:
        beside = any(path.parent.glob("samples_*.jsonl"))
        way = f"name the folder: --results {path.parent}" if beside else "run lm_eval again with --log_samples"
        raise HarnessError(f"--results {path}: wanted results of single items, found lm-eval's averages; {way}")
    return None


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise HarnessError(f"--results {path}: cannot be read ({error.strerror})") from None


def _object(text: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
