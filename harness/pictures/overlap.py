"""What of the test is in the training data, as text: a sentence, the scores without it, some of what was found."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import wrap

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from harness.overlap.findings import Found, Overlap, WithAndWithout
from harness.screen import visible

WIDTH = 80
FEW = 3  # items that are shown when nobody asks for all
MOST = 0.9  # of the items: then the file is likely to be the one that the test set was split from
_DRAWN_FROM_IT = (
    "nearly all of it: if the test set was split from this file, look through what was trained on instead "
    "(checkpoints made here have it in splits/train.json); --forget removes this search"
)
_NAME = 24  # characters of a checkpoint's name that a table has room for


def overlap_picture(overlaps: Sequence[Overlap], *, full: bool = False) -> Group:
    """All of it, with how it was looked for.

    Args:
        overlaps: One for each table.
        full: With every item found, and how each checkpoint differs from the baseline without them.
    """
    parts: list[RenderableType] = [*overlap_parts(overlaps, full=full)]
    searched = {(one.n, one.threshold) for one in overlaps if one.n}
    for n, threshold in sorted(searched):
        parts += [*_wrapped(_how(n, threshold))]
    return Group(*parts)


def overlap_parts(overlaps: Sequence[Overlap], *, full: bool = False, brief: bool = False) -> Iterator[RenderableType]:
    """What belongs into a comparison: a sentence for each data set, and where items were found the scores without.

    Args:
        overlaps: One for each table; those of one search stand together.
        full: As for `overlap_picture`.
        brief: Of the tables only the first, and no items: where other things are to be read too.
    """
    for _, group in groupby(overlaps, key=lambda one: (one.train, one.dataset, one.source)):
        tables = [*group]
        yield from _wrapped(overlap_sentence(tables[0]))
        if tables[0].note:
            yield from _wrapped(tables[0].note, indent=3)
        if _most(tables[0]):
            yield from _wrapped(_DRAWN_FROM_IT, indent=3)
        with_scores = [table for table in tables if table.found and table.scores]
        for table in with_scores[:1] if brief else with_scores:
            yield _title(table)
            yield _scores(table, full=full)
        if not brief:
            yield from _items(tables[0], full=full)


def _most(overlap: Overlap) -> bool:
    """Whether so much of the test is in there that it was probably drawn from there."""
    return overlap.source != "remembered" and overlap.items > 0 and len(overlap.found) >= MOST * overlap.items


def clean_lines(overlaps: Sequence[Overlap]) -> Iterator[Text]:
    """One sentence for all data sets of which nothing was found in the same training data."""
    for sentence in clean_sentences(overlaps):
        yield from _wrapped(sentence)


def clean_sentences(overlaps: Sequence[Overlap]) -> Iterator[str]:
    """The same, not folded."""
    # What checkpoints remember is the leakage that is told anyway.
    clean = [one for one in overlaps if not says_something(one) and one.source != "remembered"]
    clean.sort(key=lambda one: one.train)
    for (train, entries), group in groupby(clean, key=lambda one: (one.train, one.entries)):
        names = dict.fromkeys(visible(one.dataset.rpartition("-")[0] or one.dataset) for one in group)
        many = f" ({entries:,} entries)" if entries else ""
        yield f"overlap: no item of {' or '.join(names)} occurs in {visible(train)}{many}"


def says_something(overlap: Overlap) -> bool:
    """Whether there is more to say than that nothing was found."""
    return bool(overlap.found or overlap.note or overlap.textless or not overlap.items)


def overlap_sentence(overlap: Overlap) -> str:
    """How many items occur, and how much of them."""
    looked = overlap.items - overlap.textless
    name = overlap.dataset.rpartition("-")[0] or overlap.dataset
    what = f"{looked:,} items of {visible(name)}"
    if overlap.textless and not looked:
        return f"overlap: the run keeps no questions of {visible(name)}, so nothing could be looked for"
    train = visible(overlap.train)
    found = overlap.exact + overlap.near
    verb = "occurs" if found == 1 else "occur"
    if overlap.source == "remembered":
        return f"overlap: {found:,} of {what} are among the entries that {train} {_remembers(train)} from its training"
    kinds = f" ({overlap.exact:,} whole, {overlap.near:,} near)" if found else ""
    answers = sum(one.with_answer for one in overlap.found)
    answered = f", {answers:,} with the expected answer" if answers else ""
    entries = f" ({overlap.entries:,} entries)" if overlap.entries else ""
    textless = f"; {overlap.textless:,} more have no question on record" if overlap.textless else ""
    return f"overlap: {found:,} of {what} {verb} in {train}{entries}{kinds}{answered}{textless}"


def _remembers(train: str) -> str:
    return "remember" if ", " in train else "remembers"


def _how(n: int, threshold: float) -> str:
    return (
        f"whole: word for word, but for case and punctuation; near: of {2 * n} words or more at least {threshold:.0%} "
        f"in {n}-word sequences that one entry has too"
    )


def _title(table: Overlap) -> Text:
    return Text(f" {visible(table.table)} · {visible(table.metric)}"[:WIDTH])


def _scores(table: Overlap, *, full: bool) -> RichTable:
    against = full and any(line.difference is not None for line in table.scores)
    titles = ["", "all", "n", "without", "95 %", "n"]
    titles += [f"vs {_cut(table.baseline)}"] if against else []
    made = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, title in enumerate(titles):
        made.add_column(escape(title), justify="right" if place else "left", no_wrap=True)
    for line in table.scores:
        cells = [f" {_cut(line.checkpoint)}", f"{line.all_items:.1f}", f"{line.n:,}", *_without(line)]
        made.add_row(*map(escape, cells + ([_difference(line)] if against else [])))
    return made


def _cut(name: str) -> str:
    name = visible(name).replace("\n", " ")
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"


def _without(line: WithAndWithout) -> list[str]:
    clean = "–" if line.clean is None else f"{line.clean:.1f}"
    interval = "–" if line.low is None or line.high is None else f"{line.low:.1f}–{line.high:.1f}"
    return [clean, interval, f"{line.n_clean:,}"]


def _difference(line: WithAndWithout) -> str:
    if line.difference is None or line.difference_low is None or line.difference_high is None:
        return ""
    return f"{line.difference:+.1f} ±{(line.difference_high - line.difference_low) / 2:.1f}"


def _items(overlap: Overlap, *, full: bool) -> Iterator[Text]:
    shown = overlap.found if full else overlap.found[:FEW]
    for one in shown:
        yield from _item(one)
    if left := len(overlap.found) - len(shown):
        yield Text(f" {left:,} more: ift-eval overlap --full, or --json")


def _item(one: Found) -> Iterator[Text]:
    share = "whole" if one.exact else f"{one.containment:.0%}"
    answered = ", with its answer" if one.with_answer else ""
    place = f" in {one.entry}" if one.entry else ""
    yield from _wrapped(f"{share}{answered}: {one.item_id}{place}")
    if one.question:
        line = " ".join(visible(one.question).split())
        yield Text(f"   {line if len(line) <= WIDTH - 4 else line[: WIDTH - 5] + '…'}", style="dim", no_wrap=True)


def _wrapped(line: str, *, indent: int = 1) -> Iterator[Text]:
    for more in wrap(
        visible(line), WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2), break_on_hyphens=False
    ):
        yield Text(more)
