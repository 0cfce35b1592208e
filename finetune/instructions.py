"""Instruction entries: reading them, their ids, and what a data set is called."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from finetune.errors import FinetuneError

_FIELDS = ("instruction", "input", "output")


class Entry(BaseModel):
    """One example of a data set.

    Attributes:
        item_id: The user's own id, else a hash of the raw entry and its occurrence number.
        instruction: What is asked.
        input: What it is asked about; may be empty.
        output: The expected answer; may be empty when there is none to compare with.
        meta: Every other field of the raw entry (category, ...).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    item_id: str
    instruction: str
    input: str = ""
    output: str = ""
    meta: dict[str, Any] = {}

    @property
    def question(self) -> str:
        """Instruction and input as one text, as a person would ask it."""
        return f"{self.instruction}\n\n{self.input}" if self.input else self.instruction

    @property
    def prompt_hash(self) -> str:
        """Hash of instruction and input: the same question, whatever its id and expected answer."""
        return _digest([self.instruction.strip(), self.input.strip()])


@dataclass(frozen=True)
class DataSet:
    """Entries with the name and the content hash under which their results are kept.

    Attributes:
        name: Of the file, without its ending.
        entries: All of them.
        limit: Only so many, the first, are evaluated; all when None. What is recorded for a part counts
            for the whole, so the limit does not enter the hash.
    """

    name: str
    entries: tuple[Entry, ...]
    limit: int | None = None

    @property
    def evaluated(self) -> tuple[Entry, ...]:
        """The entries to evaluate."""
        return self.entries[: self.limit]

    @cached_property
    def digest(self) -> str:
        """Hash of ids and contents, 8 hex digits."""
        return _digest([entry.model_dump() for entry in self.entries])[:8]

    @property
    def label(self) -> str:
        """Name and digest: what a folder of results is called."""
        return f"{self.name}-{self.digest}"


def read_entries(path: str | Path, *, unhashed: Sequence[str] = ()) -> list[Entry]:
    """Read a JSON list, or JSONL, of objects with `instruction`, `output` and perhaps `input`.

    Args:
        path: The file.
        unhashed: Fields that do not enter an item's id, such as the answer that somebody added to it.

    Raises:
        FinetuneError: If the file is missing, a folder, not JSON (with line and column), or an entry is
            not as wanted (with its index, from 0).
    """
    path = Path(path)
    raw = _read_json_list(path)
    seen: Counter[str] = Counter()
    return [_entry(item, index, seen, path, unhashed) for index, item in enumerate(raw)]


def read_data_set(path: str | Path, *, limit: int | None = None) -> DataSet:
    """The entries of a file, named after the file; the first `limit` of them are to be evaluated.

    Raises:
        FinetuneError: As `read_entries`, and if there are no entries.
    """
    entries = read_entries(path)
    if not entries:
        raise FinetuneError(f"{path} holds no entries; wanted at least one")
    return DataSet(re.sub(r"[^\w.-]+", "-", Path(path).stem), tuple(entries), limit)


def write_entries(path: Path, entries: Sequence[Entry]) -> None:
    """Write a JSON list that `read_entries` reads back with the same ids; whole or not at all."""
    raw = [
        {"id": e.item_id, "instruction": e.instruction, "input": e.input, "output": e.output, **e.meta} for e in entries
    ]
    partial = path.with_name(f".{path.name}.partial")
    # Half of a surrogate pair has no UTF-8 form; its backslash form is the JSON escape it came from.
    partial.write_text(json.dumps(raw, ensure_ascii=False, indent=1), "utf-8", errors="backslashreplace")
    partial.replace(path)


def complaints(entries: Iterable[Entry]) -> list[str]:
    """What a careful reader would notice: repeated questions and empty expected answers, counted."""
    entries = list(entries)
    repeated = len(entries) - len({e.prompt_hash for e in entries})
    empty = sum(not e.output.strip() for e in entries)
    lines = []
    if repeated:
        lines.append(f"{repeated} of {len(entries)} entries repeat the instruction and input of another")
    if empty:
        lines.append(f"{empty} of {len(entries)} entries have an empty output")
    return lines


def _read_json_list(path: Path) -> list[Any]:
    if path.is_dir():
        raise FinetuneError(f"wanted a JSON or JSONL file, {path} is a folder")
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise FinetuneError(f"wanted a JSON or JSONL file at {path}, found none") from None
    except UnicodeDecodeError as error:
        raise FinetuneError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    if text.lstrip().startswith("["):
        return list(_parse(text, path, first_line=1))
    # Split on "\n" only: JSON strings may hold other characters that splitlines() takes for line ends.
    lines = text.split("\n")
    return [_parse(line, path, first_line=n) for n, line in enumerate(lines, 1) if line.strip()]


def _parse(text: str, path: Path, *, first_line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = error.lineno + first_line - 1
        raise FinetuneError(f"{path} is not JSON: {error.msg} at line {line}, column {error.colno}") from None
    except RecursionError:
        raise FinetuneError(f"{path}: wanted entries, found brackets nested too deep at line {first_line}") from None


def _entry(raw: Any, index: int, seen: Counter[str], path: Path, unhashed: Sequence[str]) -> Entry:
    where = f"{path}: entry {index}"
    if not isinstance(raw, dict):
        raise FinetuneError(f"{where}: wanted an object with instruction and output, found {type(raw).__name__}")
    if "instruction" not in raw:
        found = ", ".join(map(str, raw)) or "no fields"
        raise FinetuneError(f"{where}: wanted the field instruction, found {found}")
    text = {field: raw.get(field) or "" for field in _FIELDS}
    for field, value in text.items():
        if not isinstance(value, str):
            raise FinetuneError(f"{where}: {field}: wanted text, found {type(value).__name__} {value!r:.40}")
    if not text["instruction"].strip() and not text["input"].strip():
        raise FinetuneError(f"{where}: wanted an instruction, found an empty one")
    rest = {key: value for key, value in raw.items() if key not in (*_FIELDS, "id", "item_id")}
    return Entry(item_id=_item_id(raw, seen, unhashed), **text, meta=rest)


def _item_id(raw: dict[str, Any], seen: Counter[str], unhashed: Sequence[str]) -> str:
    own = raw.get("id", raw.get("item_id"))
    if own not in (None, ""):
        return unique_id(str(own), seen, own=True)
    return unique_id(_digest({k: v for k, v in raw.items() if k not in unhashed})[:12], seen, own=False)


def unique_id(name: str, seen: Counter[str], *, own: bool) -> str:
    """An id that no item before has: a user's own id stands as it is, a hash always says which occurrence it is.

    Args:
        name: The own id, or the hash.
        seen: How often each name and id was met so far; counted on.
        own: Whether it is the user's own.
    """
    name = name.encode("utf-8", "replace").decode()  # half of a surrogate pair cannot be recorded
    number = seen[name]
    given = name if own and not number else f"{name}-{number}"
    while given != name and given in seen:  # of three entries "a", "a", "a-1" the second is not the third
        number += 1
        given = f"{name}-{number}"
    seen[name] = number + 1
    if given != name:
        seen[given] += 1
    return given


def _digest(value: Any) -> str:
    canonical = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:16]
