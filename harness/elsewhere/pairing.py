"""Which item a row of a file of answers belongs to."""

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from finetune.errors import FinetuneError
from finetune.instructions import DataSet, Entry
from harness.elsewhere.columns import Columns
from harness.elsewhere.rows import AnswerRow, as_entry, item_ids
from harness.errors import HarnessError


def refuse_repeated_ids(rows: Sequence[AnswerRow], known: Collection[str] = ()) -> None:
    """Refuse two answers of one generator to one id, of which nobody can say which counts.

    Args:
        rows: Of one generator.
        known: Ids of the data set; where it has the second of an id too (`a` and `a-1`), they pair in order.

    Raises:
        HarnessError: Names the id.
    """
    seen: Counter[str] = Counter()
    for row in rows:
        own = row.own_id
        if own is None:
            continue
        if seen[own] and f"{own}-{seen[own]}" not in known:
            whose = f" of {row.generator}" if row.generator else ""
            raise HarnessError(
                f"{row.where}: wanted one answer{whose} to each item, found a second to id {own!r}; take one out, "
                f"or name another column with --field-id"
            )
        seen[own] += 1


def pair_with(data: DataSet, rows: Sequence[AnswerRow], columns: Columns) -> list[Entry]:
    """The entries that one generator's rows answer: of the same id, else the n-th of the same question.

    Raises:
        HarnessError: Two answers to an item, answers to none, or one that has the id of one item and the
            question of another.
    """
    waiting: dict[str, deque[Entry]] = {}  # real data asks some questions twice: the n-th answer is to the n-th
    for entry in data.entries:
        waiting.setdefault(_question(entry), deque()).append(entry)
    by_id = {entry.item_id: entry for entry in data.entries}
    refuse_repeated_ids([row for row in rows if row.own_id in by_id], by_id)
    questions = [_asked(row, columns, optional=row.own_id in by_id) for row in rows]
    found = [by_id.get(item_id) for item_id in item_ids(rows)]
    taken = {entry.item_id for entry in found if entry is not None}
    for place, (row, question) in enumerate(zip(rows, questions, strict=True)):
        if (match := found[place]) is None:
            found[place] = _next(waiting.get(question or "", deque()), taken)
        elif question in waiting and question != _question(match):
            raise HarnessError(
                f"{row.where}: has the id {match.item_id!r} of one item of {data.name} and the question of another; "
                f"wanted ids that are those of {data.name}, or none"
            )
    return _all_found(found, rows, data)


def _next(same: deque[Entry], taken: set[str]) -> Entry | None:
    while same:
        entry = same.popleft()
        if entry.item_id not in taken:
            taken.add(entry.item_id)
            return entry
    return None


def _all_found(found: Sequence[Entry | None], rows: Sequence[AnswerRow], data: DataSet) -> list[Entry]:
    lost = [row for row, entry in zip(rows, found, strict=True) if entry is None]
    if lost:
        example = f"entry {lost[0].index}" + (f", id {lost[0].own_id!r}" if lost[0].own_id else "")
        raise HarnessError(
            f"{lost[0].where.rpartition(': ')[0]}: {len(lost)} of {len(rows)} answers match nothing that is left of "
            f"{data.name} by id or question ({example}); give the entries they are answers to with --data"
        )
    return [entry for entry in found if entry is not None]


def _question(entry: Entry) -> str:
    """What is asked as one text, so that a question with its input in it is the same as one with it beside it."""
    return entry.question.strip()


def _asked(row: AnswerRow, columns: Columns, *, optional: bool) -> str | None:
    """The question of a row; None where it has none, or one that cannot be read and its id is enough."""
    if columns.instruction is None:
        return None
    try:
        return _question(as_entry(row, columns, ""))
    except FinetuneError:
        if optional:
            return None
        raise


def items_of(
    groups: Mapping[str | None, Sequence[AnswerRow]], columns: Columns
) -> tuple[list[Entry], dict[str | None, list[str]]]:
    """The items that the rows of all generators are about, and which of them each row belongs to.

    Columns that differ between the generators' rows of one item (a price, a time) say something of the answers,
    and are left out.

    Raises:
        FinetuneError: If a row cannot be read as an entry.
        HarnessError: Two answers of one generator to an id, or one id with different questions.
    """
    about_answers = _differing(groups, columns) if len(groups) > 1 else set[str]()
    entries: dict[str, Entry] = {}
    ids: dict[str | None, list[str]] = {}
    for generator, rows in groups.items():
        refuse_repeated_ids(rows)
        ids[generator] = item_ids(rows, about_answers)
        for row, item_id in zip(rows, ids[generator], strict=True):
            entry = as_entry(row, columns, item_id, without=about_answers)
            first = entries.setdefault(item_id, entry)
            if (first.question, first.output) != (entry.question, entry.output):
                raise HarnessError(
                    f"{row.where}: has the id {item_id!r} of an entry with another question or expected answer; "
                    f"wanted ids that name one item"
                )
    return [*entries.values()], ids


def _differing(groups: Mapping[str | None, Sequence[AnswerRow]], columns: Columns) -> set[str]:
    item = {columns.instruction, columns.input, columns.expected, columns.id, "id", "item_id"}
    first: dict[tuple[Any, int], dict[str, Any]] = {}
    differing: set[str] = set()
    for rows in groups.values():
        seen: Counter[Any] = Counter()
        for row in rows:
            same = row.own_id or repr(
                [row.asked.get(column) for column in (columns.instruction, columns.input) if column]
            )
            other = first.setdefault((same, seen[same]), row.asked)
            seen[same] += 1
            differing |= {c for c in {*row.asked, *other} - item if row.asked.get(c) != other.get(c)}
    return differing
