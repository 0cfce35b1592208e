"""A benchmark's parts as tables: groups side by side, and a line for every subject."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from harness.comparing.side_by_side import LEVEL
from harness.findings import Agreement, Breakdown, Part, Row
from harness.pictures.table import WIDTH, difference
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
        yield groups_table(shown)
        yield Text(_legend(shown, len(shown.of_kind("group"))))
        yield from wrapped(_drawn(shown))
    yield from _unlike(shown)
    if full and shown.of_kind("subject"):
        yield ""
        yield from subjects_tables(shown)
        yield Text(_legend(shown, len(shown.of_kind("subject")), half="difference"))


def _by_field(shown: Breakdown) -> Iterator[RenderableType]:
    """A line for every value of a field."""
    parts = shown.of_kind("subject")
    yield ""
    yield Text(f" by {shown.field}")
    yield from subjects_tables(shown)
    yield Text(_legend(shown, len(parts), half="difference"))
    small = sum(max(row.summary.n_scored for row in part.rows) < ENOUGH for part in parts)
    if small:
        yield Text(f" {small} of {len(parts)} have fewer than {ENOUGH} items, too few to show anything")
    yield from _unlike(shown)


def _legend(shown: Breakdown, parts: int, *, half: str = "± 95 %,") -> str:
    several = any(row.comparison for part in shown.parts for row in part.rows)
    if not several:
        return " 95 % intervals, for these subjects"
    return f" {half} vs {shown.baseline}; * p < .05, Benjamini-Hochberg over the {parts} parts of a kind"


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
    return f"{s.estimate:.{digits}f} ({s.low:.{digits}f}–{s.high:.{digits}f})"


def _unlike(shown: Breakdown) -> Iterator[Text]:
    if shown.unlike_published:
        yield Text(" not to be compared with published numbers:")
    for line in shown.unlike_published:
        yield from wrapped(line, indent=3)


def groups_table(shown: Breakdown) -> RichTable:
    """All questions, the mean of the subjects, the groups: estimate, interval, difference below one another."""
    parts = shown.of_kind("all", "mean", "group")
    made = _table(["", *(SHORT.get(part.name, part.name) for part in parts)])
    for number, row in enumerate(parts[0].rows):
        cells = [_group_cell(part.rows[number], shown.decimals) for part in parts]
        made.add_row(escape(f" {row.summary.checkpoint}"), *map(escape, cells))
    return made


def subjects_tables(shown: Breakdown) -> list[RichTable]:
    """A line for every subject; as many checkpoints side by side as fit, the others in further tables."""
    parts = shown.of_kind("subject")
    alone, digits = len(parts[0].rows) == 1, shown.decimals
    cells = [[_subject_cell(row, digits, alone=alone) for row in part.rows] for part in parts]
    names = [row.summary.checkpoint for row in parts[0].rows]
    width = max(8, *(len(cell) for line in cells for cell in line)) + 2
    called = min(SUBJECT_WIDTH, max(len(part.name) for part in parts))
    together = max(1, (WIDTH - called - len(" n    ")) // width)
    starts = range(0, len(names), together)
    return [_subjects_table(parts, cells, names, range(len(names))[start : start + together]) for start in starts]


def _subjects_table(
    parts: Sequence[Part], cells: Sequence[Sequence[str]], names: Sequence[str], places: Sequence[int]
) -> RichTable:
    width = max(8, *(len(line[place]) for line in cells for place in places))
    made = _table(["", "n", *("\n".join(wrap(names[place], width)) for place in places)])
    for part, line in zip(parts, cells, strict=True):
        n = str(max(row.summary.n_scored for row in part.rows))
        made.add_row(escape(f" {part.name.replace('_', ' ')}"), n, *(escape(line[place]) for place in places))
    return made


def _table(titles: Sequence[str]) -> RichTable:
    made = RichTable(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for place, title in enumerate(titles):
        made.add_column(escape(title), justify="right" if place else "left", no_wrap=place > 0, overflow="fold")
    return made


def _group_cell(row: Row, digits: int) -> str:
    s, c = row.summary, row.comparison
    if s.estimate is None or s.low is None or s.high is None:
        return "–"
    lines = [f"{s.estimate:.{digits}f}", f"{s.low:.{digits}f}–{s.high:.{digits}f}"]
    if c is not None:
        lines.append(f"{difference(c, digits)}{_star(row)}")
    return "\n".join(lines)


def _subject_cell(row: Row, digits: int, *, alone: bool) -> str:
    s, c = row.summary, row.comparison
    if s.estimate is None or s.low is None or s.high is None:
        return "–"
    if alone:
        return f"{s.estimate:.{digits}f}  {s.low:.{digits}f}–{s.high:.{digits}f}"
    if c is None:
        return f"{s.estimate:.{digits}f}"
    return f"{s.estimate:.{digits}f} {c.difference:+.{digits}f}{_star(row) or ' '}"


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
