"""One metric of all checkpoints as a table for a terminal: seven columns, and what else is known of each row."""

import math
from collections.abc import Iterator

from harness.findings import JUDGED, Pick, Report, Row, Table
from harness.pictures.fitting import AtWidth, Column, fitted
from harness.records import Comparison, Summary

SHORT = 9  # characters of a baseline's name that a title has room for
LONG = 1e7  # numbers from here on are shown in short
FINE = 6  # digits behind the point; numbers that need more are shown in short
_DETAILS = ("", "p", "diff. 95 %", "bootstrap", "could miss", "vs pick", "bounds", "unscored")
_LEAVES = {"bootstrap": 1, "unscored": 2, "could miss": 3, "bounds": 4, "vs pick": 5, "p": 6}  # for want of width
_TITLES = {"judge": "judge", "preference": "wins %"}


def table_of(table: Table, report: Report) -> AtWidth:
    """One metric of all checkpoints, in seven columns; in fewer where the terminal is narrow."""
    name = _TITLES.get(table.kind, table.name.replace("_generated", " generated"))
    pick = report.pick.name if report.pick and table.kind in JUDGED else None
    picked = [number for number, row in enumerate(table.rows) if row.summary.checkpoint == pick]
    cells = [_cells(row, number in picked, table.decimals) for number, row in enumerate(table.rows)]
    names, scored, versus, p, counts, verdicts = map(list, zip(*cells, strict=True))
    scores = [_estimate(row.summary, table.decimals) for row in table.rows]
    alone = Column(name, [score.partition("  ")[0] for score in scores])
    columns = [
        Column("", names),
        Column(f"{name}  95 %", scores, leaves=3, called="intervals", less=alone),
        Column("scored", scored, leaves=2),
        Column(_versus(table), versus),
        Column("p adj", p, leaves=4),
        Column("+/-/=", counts, leaves=1),
        Column("verdict", verdicts, left=True),
    ]
    return fitted(columns, bold=picked)


def _versus(table: Table) -> str:
    """Against what: by name, where the name is short enough for a title; else it stands below the table."""
    return f"vs {table.baseline}" if len(table.baseline) <= SHORT else "vs base"


def details_of(table: Table, pick: Pick | None = None) -> AtWidth:
    """What else is known of each row.

    Args:
        table: The table.
        pick: Made in this table: then with each row's difference to it.
    """
    against = {c.checkpoint: c for c in pick.others} if pick else {}
    cells = [_more_cells(row, table.decimals, against.get(row.summary.checkpoint)) for row in table.rows]
    columns = [
        Column(title, own, leaves=_LEAVES.get(title, 0))
        for title, own in zip(_DETAILS, map(list, zip(*cells, strict=True)), strict=True)
        if title in _DETAILS[:2] or any(own)
    ]
    return fitted(columns)


def details_lines(table: Table) -> Iterator[str]:
    """What the columns of `details_of` mean."""
    if any(row.comparison for row in table.rows):
        yield "could miss: a true difference of this size is seen in 4 of 5 such tests"
    if any(row.comparison and row.comparison.bootstrap for row in table.rows):
        yield "bootstrap: a check of diff. 95 %, which is the one to report"
    if any(row.summary.bounds for row in table.rows):
        yield "bounds: the estimate, had all that is unscored been worst, or best"


def _cells(row: Row, picked: bool, decimals: int) -> list[str]:
    s, c = row.summary, row.comparison
    total = s.n_scored + sum(s.n_unscored.values())
    name = ("▸" if picked else " ") + s.checkpoint
    cells = [name, f"{s.n_scored}/{total}"]
    if c is None:
        return [*cells, "–", "", "", ""]
    counts = f"{c.better}/{c.worse}/{c.same}"
    # Of a metric over all items none is better or worse for itself.
    items = counts if c.better + c.worse + c.same == c.n else f"–/–/{c.same}"
    return [*cells, difference(c, decimals), p_text(c.p_adjusted), items, c.verdict]


def difference(c: Comparison, decimals: int = 1) -> str:
    """With half its interval; where nothing tells how far it may be off, a question mark."""
    half = f"±{number((c.high - c.low) / 2, decimals)}" if math.isfinite(c.high - c.low) else "±?"
    return f"{signed(c.difference, decimals)} {half}"


def _more_cells(row: Row, decimals: int, against: Comparison | None) -> list[str]:
    s, c = row.summary, row.comparison
    of_difference = ["", "–", "", ""] if c is None else _difference_cells(c, decimals)
    bounds = f"{number(s.bounds[0], decimals)} to {number(s.bounds[1], decimals)}" if s.bounds else ""
    unscored = "\n".join(f"{n} {why}" for why, n in s.n_unscored.items())
    to_pick = difference(against, decimals) if against else ""
    return [f" {s.checkpoint}", *of_difference, to_pick, bounds, unscored]


def _difference_cells(c: Comparison, decimals: int) -> list[str]:
    check = _ends(*c.bootstrap, decimals) if c.bootstrap else ""
    return [p_text(c.p), _ends(c.low, c.high, decimals), check, missed(c.detectable, decimals)]


def _ends(low: float, high: float, decimals: int) -> str:
    return f"{signed(low, decimals)} to {signed(high, decimals)}"


def _estimate(s: Summary, decimals: int) -> str:
    if s.estimate is None:
        return "–"
    if s.low is None or s.high is None:
        return number(s.estimate, decimals)
    return f"{number(s.estimate, decimals)}  {number(s.low, decimals)}–{number(s.high, decimals)}"


def number(value: float, decimals: int) -> str:
    """With so many digits behind the point; a perplexity of millions in short, and so what needs many digits."""
    if abs(value) >= LONG:
        return f"{value:.4g}"
    return f"{value:.{decimals}f}" if decimals <= FINE or not value else f"{value:#.3g}"


def missed(detectable: float, decimals: int) -> str:
    """What a test could have missed; where it sees nothing at all, any difference."""
    return number(detectable, decimals) if math.isfinite(detectable) else "any"


def signed(value: float, decimals: int) -> str:
    """The same of a difference."""
    text = number(value, decimals)
    return text if text.startswith("-") else f"+{text}"


def p_text(p: float) -> str:
    """Three digits without the zero in front."""
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0")
