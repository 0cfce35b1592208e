"""The items behind the numbers as a block of JSON inside the page.

Answers are untrusted: nothing in the block can end it or be taken for markup, and the page's script draws it as text
only. Keys are short, since there may be a hundred thousand answers.
"""

import json
from collections.abc import Iterator
from typing import Any

from harness.items import Answer, Item, Items, Opinion
from harness.reporting.document import Document
from harness.reporting.paths import dataset_name
from harness.screen import visible

LONGEST = 20_000  # characters of one text
ROOM = 40_000_000  # characters of all items of a table together: more than that a browser shows late or not at all

_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def items_json(document: Document) -> str:
    """All tables' items, fit to stand in a script element of type application/json."""
    tables = [_table(document, found) for found in document.items]
    text = json.dumps(tables, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_UNSAFE)


def _table(document: Document, found: Items) -> dict[str, Any]:
    table = next((t for t in document.report.shown if document.behind(t) is found), None)
    places = {subject: n for n, subject in enumerate(sorted({item.subject for item in found.items} - {""}))}
    items = [*_while_there_is_room(_item(item, places) for item in found.items)]
    kind = {"preference": f"wins against {table.baseline}" if table else "wins"}.get(found.kind, found.metric)
    picked = document.report.pick.name if document.report.pick else None
    return {
        "name": shown(f"{found.table}: {kind}"),
        "dataset": shown(dataset_name(found.dataset)),
        "checkpoints": [shown(name) for name in found.checkpoints],
        "baseline": _place(found.checkpoints, table.baseline if table else None),
        "pick": _place(found.checkpoints, picked),
        "higher": all(row.summary.higher_is_better for row in table.rows) if table else True,
        "total": found.total,
        "subjects": [shown(subject) for subject in places],
        "items": items,
    }


def _place(names: list[str], name: str | None) -> int:
    return names.index(name) if name in names else -1


def _while_there_is_room(items: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Items until their texts fill what a page can hold; the page says how many it lacks."""
    room = ROOM
    for item in items:
        room -= len(item["q"]) + len(item["e"]) + sum(len(t) for answer in item["a"] for t in answer.get("t", ()))
        if room < 0:
            return
        yield item


def _item(item: Item, subjects: dict[str, int]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "i": shown(item.item_id),
        "q": shown(item.question) or "(recorded without its question)",
        "e": shown(item.expected),
        "a": [_answer(answer) for answer in item.answers],
    }
    if item.choices:
        made["c"] = [shown(choice) for choice in item.choices]
    if item.subject:
        made["s"] = subjects[item.subject]
    if item.spread:
        made["d"] = item.spread
    return made


def _answer(answer: Answer) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if answer.texts:
        made["t"] = [shown(text) for text in answer.texts]
    if answer.value is not None:
        made["v"] = _rounded(answer.value)
    if answer.right is not None:
        made["r"] = answer.right
    if answer.opinions:
        made["o"] = [_opinion(opinion) for opinion in answer.opinions]
    return made


def _opinion(opinion: Opinion) -> dict[str, Any]:
    said = {"u": opinion.unscored, "w": opinion.order, "n": opinion.repeat, "x": shown(opinion.reasons)}
    score = None if opinion.score is None else _rounded(opinion.score)
    return {"v": score, **{key: value for key, value in said.items() if value}}


def _rounded(value: float) -> float | str:
    """Short in the file; NaN and infinity have no JSON."""
    return round(value, 4) if abs(value) < float("inf") else str(value)


def shown(text: str) -> str:
    """The text with what cannot be seen spelt out; cut where it is very long, which it says."""
    if len(text) <= LONGEST:
        return plain(text)
    return f"{plain(text[:LONGEST])}\n[cut: the first {LONGEST:,} of {len(text):,} characters]"


def plain(text: str) -> str:
    """Tabs and line ends as an editor shows them, control characters and bidi overrides spelt out."""
    text = text.replace("\r\n", "\n").replace("\t", "    ")
    return text if text.replace("\n", "").isprintable() else visible(text)
