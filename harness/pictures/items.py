"""Items with everybody's answers as text: what was asked, what came, and what was said of it."""

from collections.abc import Iterator
from textwrap import wrap

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from harness.items import Answer, Item, Items, Opinion
from harness.screen import visible

WIDTH = 80
MOST = 4000  # characters of a text; more is in --json
_RULE = "─" * (WIDTH - 1)


def items_picture(found: Items) -> Group:
    """All of them, each below a line."""
    parts: list[RenderableType] = [Text(_title(found))]
    for number, item in enumerate(found.items, 1):
        parts += ["", *_item(item, number, len(found.items))]
    return Group(*parts)


def _title(found: Items) -> str:
    shown = f"{len(found.items)} of {found.total} items"
    return f"{found.table} · {found.metric} · {' against '.join(found.checkpoints)} · {shown}"


def _item(item: Item, number: int, total: int) -> Iterator[RenderableType]:
    moved = "" if item.difference is None else f" · {item.difference:+.1f}"
    subject = f" · {item.subject}" if item.subject else ""
    yield Text(_RULE, style="dim")
    yield Text(f"{number} of {total} · {visible(item.item_id)}{subject}{moved}", style="bold")
    yield _paragraph(item.question or "(recorded without its question)")
    if item.choices:
        yield _paragraph(f"choices: {' | '.join(item.choices)}")
    if item.expected:
        yield _paragraph(f"expected: {item.expected}")
    yield ""
    yield from _side_by_side(item) if len(item.answers) == 2 else _stacked(item)


def _paragraph(text: str) -> Text:
    lines = [part for line in _short(text).split("\n") for part in wrap(line, WIDTH - 2, tabsize=4) or [""]]
    return Text("\n".join(f" {line}" for line in lines))


def _side_by_side(item: Item) -> Iterator[RenderableType]:
    table = RichTable(box=None, show_header=True, pad_edge=False, padding=(0, 2, 0, 1), expand=False)
    for answer in item.answers:
        table.add_column(Text(_head(answer), style="bold"), width=WIDTH // 2 - 3, overflow="fold")
    table.add_row(*(Text(_answer(answer)) for answer in item.answers))
    if any(_opinions(answer) for answer in item.answers):
        table.add_row(*(Text(_opinions(answer), style="dim") for answer in item.answers))
    yield table


def _stacked(item: Item) -> Iterator[RenderableType]:
    for answer in item.answers:
        yield Text(f" {_head(answer)}", style="bold")
        yield _paragraph(_answer(answer))
        if _opinions(answer):
            said = _paragraph(_opinions(answer))
            said.stylize("dim")
            yield said


def _head(answer: Answer) -> str:
    if answer.right is not None:
        return f"{answer.checkpoint}: {'right' if answer.right else 'wrong'}"
    return f"{answer.checkpoint}: {'unscored' if answer.value is None else f'{answer.value:.1f}'}"


def _answer(answer: Answer) -> str:
    if not answer.texts:
        return "(no answer)"
    texts = [_short(text) or "(empty)" for text in answer.texts]
    return texts[0] if len(texts) == 1 else "\n".join(f"{n}: {text}" for n, text in enumerate(texts, 1))


def _opinions(answer: Answer) -> str:
    said = (_opinion(one, alone=len(answer.opinions) == 1) for one in answer.opinions)
    return "\n".join(filter(None, said))


def _opinion(one: Opinion, *, alone: bool) -> str:
    where = {"AB": "shown first", "BA": "shown second"}.get(one.order, "")
    which = f"judgment {one.repeat + 1}" if not alone and not where else where
    what = f"unscored: {one.unscored}" if one.score is None else "" if alone and not where else f"{one.score:g}"
    lead = ", ".join(filter(None, [which, what]))
    return _short(": ".join(filter(None, [lead, one.reasons])))


def _short(text: str) -> str:
    over = len(text) - MOST
    return visible(text if over <= 0 else f"{text[:MOST]} ... {over} characters left out ...")
