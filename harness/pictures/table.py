"""One metric of all checkpoints as a table for a terminal: seven columns, and what else is known of each row."""

import math
from collections.abc import Collection, Iterator, Sequence
from textwrap import wrap
from typing import Literal

from rich.markup import escape
from rich.table import Table as RichTable

from harness.findings import JUDGED, Pick, Report, Row, Table
from harness.records import Comparison, Summary

SHORT = 9  # characters of a baseline's name that a title has room for
LONG = 1e7  # numbers from here on are shown in short
WIDTH = 80  # characters that a terminal has at least
_TITLES = {"judge": "judge", "preference": "wins %"}


def table_of(table: Table, report: Report) -> RichTable:
    """One metric of all checkpoints, in seven columns."""
    name = _TITLES.get(table.kind, table.name.replace("_generated", " generated"))
    titles = ["", f"{name}  95 %", "scored", _versus(table), "p adj", "+/-/=", "verdict"]
    pick = report.pick.name if report.pick and table.kind in JUDGED else None
    picked = [number for number, row in enumerate(table.rows) if row.summary.checkpoint == pick]
    cells = [_cells(row, number in picked, table.decimals) for number, row in enumerate(table.rows)]
    return rich_table(titles, cells, bold=picked, left=(0, 6))


def _versus(table: Table) -> str:
    """Against what: by name, where the name is short enough for a title; else it stands below the table."""
    return f"vs {table.baseline}" if len(table.baseline) <= SHORT else "vs base"


def details_of(table: Table, pick: Pick | None = None) -> RichTable:
    """What else is known of each row.

    Args:
        table: The table.
        pick: Made in this table: then with each row's difference to it.
    """
    titles = ["", "p", "diff. 95 %", "bootstrap", "could miss", "vs pick", "bounds", "unscored"]
    against = {c.checkpoint: c for c in pick.others} if pick else {}
    cells = [_more_cells(row, table.decimals, against.get(row.summary.checkpoint)) for row in table.rows]
    wanted = [place for place in range(len(titles)) if place < 2 or any(line[place] for line in cells)]
    shown = [[line[place] for place in wanted] for line in cells]
    return rich_table([titles[place] for place in wanted], shown, left=(0, len(wanted)))


def details_lines(table: Table) -> Iterator[str]:
    """What the columns of `details_of` mean."""
    if any(row.comparison for row in table.rows):
        yield "could miss: a true difference of this size is seen in 4 of 5 such tests"
    if any(row.comparison and row.comparison.bootstrap for row in table.rows):
        yield "bootstrap: a check of diff. 95 %, which is the one to report"
    if any(row.summary.bounds for row in table.rows):
        yield "bounds: the estimate, had all that is unscored been worst, or best"


def rich_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int], bold: Collection[int] = ()
) -> RichTable:
    """Where room is short titles are folded, columns move closer, and names are broken; a number is never cut."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    folded = ["\n".join(wrap(title, max(8, width))) for title, width in zip(titles, widths, strict=True)]
    roomy = sum(max(8, width) + 2 for width in widths) <= WIDTH
    made = RichTable(box=None, pad_edge=False, padding=(0, 2 if roomy else 1, 0, 0), header_style="bold")
    for place, title in enumerate(folded):
        side: Literal["left", "right"] = "left" if place in left else "right"
        made.add_column(escape(title), justify=side, no_wrap=place > 0, overflow="fold")
    for number, cells in enumerate(rows):
        made.add_row(*map(escape, cells), style="bold" if number in bold else None)
    return made


def _cells(row: Row, picked: bool, decimals: int) -> list[str]:
    s, c = row.summary, row.comparison
    total = s.n_scored + sum(s.n_unscored.values())
    name = ("▸" if picked else " ") + s.checkpoint
    cells = [name, _estimate(s, decimals), f"{s.n_scored}/{total}"]
    if c is None:
        return [*cells, "–", "", "", ""]
    counts = f"{c.better}/{c.worse}/{c.same}"
    # Of a metric over all items none is better or worse for itself.
    items = counts if c.better + c.worse + c.same == c.n else f"–/–/{c.same}"
    return [*cells, difference(c, decimals), p_text(c.p_adjusted), items, c.verdict]


def difference(c: Comparison, decimals: int = 1) -> str:
    """With half its interval; where nothing tells how far it may be off, a question mark."""
    half = f"±{number((c.high - c.low) / 2, decimals)}" if math.isfinite(c.high - c.low) else "±?"
    return f"{'+' if c.difference >= 0 else ''}{number(c.difference, decimals)} {half}"


def _more_cells(row: Row, decimals: int, against: Comparison | None) -> list[str]:
    s, c = row.summary, row.comparison
    of_difference = ["", "–", "", ""] if c is None else _difference_cells(c, decimals)
    bounds = f"{s.bounds[0]:.{decimals}f} to {s.bounds[1]:.{decimals}f}" if s.bounds else ""
    unscored = "\n".join(f"{n} {why}" for why, n in s.n_unscored.items())
    to_pick = difference(against, decimals) if against else ""
    return [f" {s.checkpoint}", *of_difference, to_pick, bounds, unscored]


def _difference_cells(c: Comparison, decimals: int) -> list[str]:
    check = _ends(*c.bootstrap, decimals) if c.bootstrap else ""
    return [p_text(c.p), _ends(c.low, c.high, decimals), check, f"{c.detectable:.{decimals}f}"]


def _ends(low: float, high: float, decimals: int) -> str:
    return f"{'+' if low >= 0 else ''}{number(low, decimals)} to {'+' if high >= 0 else ''}{number(high, decimals)}"


def _estimate(s: Summary, decimals: int) -> str:
    if s.estimate is None:
        return "–"
    if s.low is None or s.high is None:
        return number(s.estimate, decimals)
    return f"{number(s.estimate, decimals)}  {number(s.low, decimals)}–{number(s.high, decimals)}"


def number(value: float, decimals: int) -> str:
    """With so many digits behind the point; a perplexity of millions in short."""
    return f"{value:.{decimals}f}" if abs(value) < LONG else f"{value:.4g}"


def p_text(p: float) -> str:
    """Three digits without the zero in front."""
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0")
