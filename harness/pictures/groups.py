"""A benchmark's parts as tables: groups side by side, and a line for every subject."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from harness.comparing.side_by_side import LEVEL
from harness.findings import Agreement, Breakdown, Part, Row
from harness.pictures.fitting import WIDTH, AtWidth, Column, add_column, name_room, plain_table, side_by_side
from harness.pictures.table import difference, number, signed
from harness.pictures.under import ENOUGH, wrapped

SHORT = {"mean of subjects": "mean of\nsubjects", "social_sciences": "social\nsciences"}
SUBJECT_WIDTH = 35  # the longest name MMLU has


def breakdown_parts(shown: Breakdown, *, full: bool) -> Iterator[RenderableType]:
    """What belongs under the benchmark's own table.

    Args:
        shown: The parts.
        full: With every subject.
    """
    if not shown.of_kind("mean"):
        yield from _by_field(shown)
        return
    if len(shown.of_kind("subject")) > 1:
        yield ""
        yield AtWidth(lambda width: groups_tables(shown, width))
        yield Text(_legend(shown, len(shown.of_kind("group"))))
        yield from wrapped(_drawn(shown))
    yield from _unlike(shown)
    if full and shown.of_kind("subject"):
        yield ""
        yield AtWidth(lambda width: subjects_tables(shown, width))
        yield Text(_legend(shown, len(shown.of_kind("subject")), half="difference"))


def _by_field(shown: Breakdown) -> Iterator[RenderableType]:
    """A line for every value of a field."""
    parts = shown.of_kind("subject")
    yield ""
    yield Text(f" by {shown.field}")
    yield AtWidth(lambda width: subjects_tables(shown, width))
    yield Text(_legend(shown, len(parts), half="difference"))
    small = sum(max(row.summary.n_scored for row in part.rows) < ENOUGH for part in parts)
    if small:
        yield Text(f" {small} of {len(parts)} have fewer than {ENOUGH} items, too few to show anything")
    yield from _unlike(shown)


def _legend(shown: Breakdown, parts: int, *, half: str = "± 95 %,") -> str:
    several = any(row.comparison for part in shown.parts for row in part.rows)
    if not several:
        return " 95 % intervals, for these subjects"
    # Without groups there are only all questions and the mean: one of a kind each, and nothing to adjust for.
    adjusted = f", Benjamini-Hochberg over the {parts} parts of a kind" if parts else ""
    return f" {half} vs {shown.baseline}; * p < .05{adjusted}"


def _drawn(shown: Breakdown) -> str:
    """The mean of subjects once more, for readers to whom these subjects stand for others."""
    rows = [row for part in shown.of_kind("drawn") for row in part.rows]
    compared = [row for row in rows if row.comparison]
    digits = shown.decimals
    differences = [difference(row.comparison, digits) for row in rows if row.comparison]
    cells = differences or [_plus_minus(row, digits) for row in rows]
    named = [f"{row.summary.checkpoint} {cell}" for row, cell in zip(compared or rows, cells, strict=True)]
    return f"mean with the subjects as a sample of more: {', '.join(named)}"


def _plus_minus(row: Row, digits: int) -> str:
    s = row.summary
    if s.estimate is None or s.low is None or s.high is None:
        return "–"
    return f"{number(s.estimate, digits)} ({number(s.low, digits)}–{number(s.high, digits)})"


def _unlike(shown: Breakdown) -> Iterator[RenderableType]:
    if shown.unlike_published:
        yield Text(" not to be compared with published numbers:")
    for line in shown.unlike_published:
        yield from wrapped(line, indent=3)


def groups_tables(shown: Breakdown, width: int = WIDTH) -> Iterator[RenderableType]:
    """All questions, the mean of the subjects, the groups: estimate, interval, difference below one another.

    Args:
        shown: The parts.
        width: Of the terminal, in characters; groups for which there is no room stand in further tables.
    """
    parts = shown.of_kind("all", "mean", "group")
    names = [f" {row.summary.checkpoint}" for row in parts[0].rows]
    columns = [
        Column(SHORT.get(part.name, part.name), [_group_cell(row, shown.decimals) for row in part.rows])
        for part in parts
    ]
    for place, batch in enumerate(side_by_side(names, columns, width)):
        if place:
            yield Text()
        yield _table(["", *(column.title for column in batch)], [names, *(column.cells for column in batch)])


def subjects_tables(shown: Breakdown, width: int = WIDTH) -> list[RichTable]:
    """A line for every subject; as many checkpoints side by side as fit, the others in further tables.

    Args:
        shown: The parts.
        width: Of the terminal, in characters.
    """
    parts = shown.of_kind("subject")
    alone, digits = len(parts[0].rows) == 1, shown.decimals
    cells = [[_subject_cell(row, digits, alone=alone) for row in part.rows] for part in parts]
    checkpoints = [row.summary.checkpoint for row in parts[0].rows]
    room = max(8, *(len(cell) for line in cells for cell in line)) + 2
    called = min(SUBJECT_WIDTH, max(len(part.name) for part in parts))
    if width < WIDTH:
        called = name_room((part.name for part in parts), width)
    together = max(1, (min(width, WIDTH) - called - len(" n    ")) // room)
    starts = range(0, len(checkpoints), together)
    chosen = [range(len(checkpoints))[start : start + together] for start in starts]
    return [_subjects_table(parts, cells, checkpoints, places) for places in chosen]


def _subjects_table(
    parts: Sequence[Part], cells: Sequence[Sequence[str]], checkpoints: Sequence[str], places: Sequence[int]
) -> RichTable:
    width = max(8, *(len(line[place]) for line in cells for place in places))
    names = [f" {part.name.replace('_', ' ')}" for part in parts]
    items = [str(max(row.summary.n_scored for row in part.rows)) for part in parts]
    titles = ["", "n", *("\n".join(wrap(checkpoints[place], width)) for place in places)]
    return _table(titles, [names, items, *([line[place] for line in cells] for place in places)])


def _table(titles: Sequence[str], columns: Sequence[Sequence[str]]) -> RichTable:
    made = plain_table()
    for place, title in enumerate(titles):
        add_column(made, title, name=place == 0)
    for cells in zip(*columns, strict=True):
        made.add_row(*map(escape, cells))
    return made


def _group_cell(row: Row, digits: int) -> str:
    s, c = row.summary, row.comparison
    if s.estimate is None or s.low is None or s.high is None:
        return "–"
    lines = [number(s.estimate, digits), f"{number(s.low, digits)}–{number(s.high, digits)}"]
    if c is not None:
        lines.append(f"{difference(c, digits)}{_star(row)}")
    return "\n".join(lines)


def _subject_cell(row: Row, digits: int, *, alone: bool) -> str:
    s, c = row.summary, row.comparison
    if s.estimate is None or s.low is None or s.high is None:
        return "–"
    if alone:
        return f"{number(s.estimate, digits)}  {number(s.low, digits)}–{number(s.high, digits)}"
    if c is None:
        return number(s.estimate, digits)
    return f"{number(s.estimate, digits)} {signed(c.difference, digits)}{_star(row) or ' '}"


def _star(row: Row) -> str:
    return "*" if row.comparison is not None and row.comparison.p_adjusted < LEVEL else ""


def agreements_lines(agreements: Sequence[Agreement]) -> Iterator[str]:
    """How often each checkpoint chose the same both ways."""
    for a in agreements:
        yield (
            f"{a.name}, {a.checkpoint}: the same choice both ways on {a.same} of {a.n}, "
            f"{100 * a.same / a.n:.1f} % ({a.low:.1f}–{a.high:.1f})"
        )
        yield f"  right by log-likelihood {a.by_likelihood:.1f} %, written {a.written:.1f} %"
