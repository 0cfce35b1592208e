"""The rows of a file of answers: who answered what, and how a row becomes an entry."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.instructions import Entry, item_id_of
from finetune.reading.formats import read_content
from finetune.reading.sources import read_raw
from harness.elsewhere.columns import Columns, find_columns
from harness.elsewhere.fields import AnswerFields
from harness.errors import HarnessError


@dataclass(frozen=True)
class AnswerRow:
    """One answer as its file has it.

    Attributes:
        where: File and index, from 0, for errors.
        index: The same index.
        generator: Who answered; None where the file does not say.
        answer: None where there is none.
        asked: The other columns, by which answers of different generators to one item are known to be that.
    """

    where: str
    index: int
    generator: str | None
    answer: str | None
    asked: dict[str, Any]

    @property
    def own_id(self) -> str | None:
        """The id that the file gives the item."""
        own = self.asked.get("id")
        return None if own in (None, "") else str(own)


def read_rows(path: Path, named: AnswerFields, *, with_data: bool) -> tuple[list[AnswerRow], Columns]:
    """The rows of a file, and which of their columns are which.

    Raises:
        FinetuneError: If the file cannot be read.
        HarnessError: If it holds no answers, or it cannot be told which columns hold them.
    """
    raw = [*read_raw(path)]
    if not raw:
        raise HarnessError(f"{path} holds no answers; wanted at least one")
    for index, one in enumerate(raw):
        if not isinstance(one, dict):
            raise HarnessError(f"{path}: entry {index}: wanted an object, found {type(one).__name__}")
    all_ = dict.fromkeys(column for one in raw for column in one)
    filled = {column for one in raw for column, value in one.items() if value is not None}
    columns = find_columns([*all_], filled, named, str(path), with_data=with_data)
    rows = [_row(one, index, columns, f"{path}: entry {index}") for index, one in enumerate(raw)]
    if all(row.answer is None for row in rows):
        raise HarnessError(f"{path} holds no answers: {columns.answer} is empty in all {len(rows)} entries")
    return rows, columns


def by_generator(rows: Sequence[AnswerRow]) -> dict[str | None, list[AnswerRow]]:
    """The rows of each generator, in order of first appearance.

    Raises:
        HarnessError: If only some say whose they are: numbers of several would be mixed.
    """
    made: dict[str | None, list[AnswerRow]] = {}
    for row in rows:
        made.setdefault(row.generator, []).append(row)
    if None in made and len(made) > 1:
        raise HarnessError(f"{made[None][0].where}: wanted a generator, as other entries have, found none")
    return made


def item_ids(rows: Iterable[AnswerRow], unhashed: Collection[str] = ()) -> list[str]:
    """The ids of one generator's rows, as `read_entries` gives them to entries without answers."""
    seen: Counter[str] = Counter()
    return [item_id_of(row.asked, seen, unhashed) for row in rows]


def as_entry(row: AnswerRow, columns: Columns, item_id: str, *, without: Collection[str] = ()) -> Entry:
    """What was asked and expected, without the answer.

    Args:
        row: It must have an instruction.
        columns: Which columns are which.
        item_id: Its id.
        without: Columns that say something of the answer, not of the item.

    Raises:
        FinetuneError: If a column does not hold what an entry can.
    """
    assert columns.instruction is not None, "find_columns has found one"
    used = {c for c in (columns.instruction, columns.input, columns.expected, columns.id, *without) if c is not None}
    rest = {column: value for column, value in row.asked.items() if column not in used}
    asked = row.asked.get(columns.instruction)
    if isinstance(asked, list) or columns.instruction in ("messages", "conversations"):
        column = "conversations" if columns.instruction == "conversations" else "messages"
        content, _ = read_content(_without_ours(rest) | {column: asked}, None, row.where)
    else:
        given = row.asked.get(columns.input) if columns.input else None
        content, _ = read_content(rest | {"instruction": asked, "input": given, "output": ""}, None, row.where)
    entry = Entry(item_id=item_id, **content)
    expected = row.asked.get(columns.expected) if columns.expected else None
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        expected = str(expected)
    return entry if expected is None else entry.with_output(_text(expected, row.where, columns.expected) or "")


def _without_ours(rest: dict[str, Any]) -> dict[str, Any]:
    """Beside a conversation, instruction and output would make it two."""
    return {column: value for column, value in rest.items() if column not in ("instruction", "output", "messages")}


def _row(raw: dict[str, Any], index: int, columns: Columns, where: str) -> AnswerRow:
    asked = {column: value for column, value in raw.items() if column not in (columns.answer, columns.generator)}
    if columns.answer == columns.instruction:
        answer, asked[columns.answer] = _last_turn(raw.get(columns.answer))
    else:
        answer = raw.get(columns.answer)
    if columns.id:
        asked["id"] = raw.get(columns.id)
    generator = raw.get(columns.generator) if columns.generator else None
    name = " ".join(str(generator).split()) if generator is not None else ""
    name = name.encode("utf-8", "replace").decode()  # half of a surrogate pair cannot be shown
    return AnswerRow(where, index, name or None, _text(answer, where, columns.answer), asked)


def _last_turn(messages: Any) -> tuple[Any, Any]:
    """Of a conversation the answer at its end and what comes before it."""
    if isinstance(messages, list) and messages and _is_answer(messages[-1]):
        return [messages[-1]], messages[:-1]
    return None, messages


def _is_answer(turn: Any) -> bool:
    return isinstance(turn, dict) and turn.get("role", turn.get("from")) in ("assistant", "gpt", "model")


def _text(value: Any, where: str, column: str | None) -> str | None:
    """An answer as text: as it stands, or the only message of a list."""
    if isinstance(value, list) and len(value) == 1 and _is_answer(value[0]):
        value = value[0].get("content", value[0].get("value"))
    if value is None or isinstance(value, str):
        return value
    raise HarnessError(f"{where}: {column}: wanted text, found {type(value).__name__}")
