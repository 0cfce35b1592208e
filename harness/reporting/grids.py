"""Tables as grids of cells, from which both the page and its Markdown twin are drawn."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.comparing.side_by_side import LEVEL
from harness.findings import JUDGED, Pick, Row, Table
from harness.records import Comparison
from harness.reporting.numbers import NONE, count, ends_of, interval, number, p_value, signed
from harness.reporting.paths import dataset_name

Show = Literal["all", "better", "worse", "same"]


@dataclass(frozen=True)
class Link:
    """A number that leads to the items behind it.

    Attributes:
        text: The number.
        show: Which items.
    """

    text: str
    show: Show


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: What it says.
        links: In place of the text: numbers that lead to items, with "/" between them.
        tone: Of the verdict: "better", "worse"; of an estimate to go by "headline"; else "".
        ends: Of an estimate: its interval, beside it or, on a narrow screen, below it.
    """

    text: str
    links: Sequence[Link] = ()
    tone: str = ""
    ends: str = ""

    def __str__(self) -> str:
        """In one line."""
        return f"{self.text} ({self.ends})" if self.ends else self.text


@dataclass(frozen=True)
class Line:
    """One row of a grid.

    Attributes:
        name: What the row is about, as its first cell.
        cells: The others.
        picked: Whether it is the pick.
        baseline: Whether the others are compared with it.
    """

    name: str
    cells: list[Cell]
    picked: bool = False
    baseline: bool = False


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        caption: What it shows.
        head: Titles of the columns, the first of which is that of the names.
        lines: Rows.
        left: Places of columns that hold words; the others hold numbers.
        against: Whom links to items compare with; the table's baseline where it is "".
    """

    caption: str
    head: list[str]
    lines: list[Line]
    left: Sequence[int] = field(default_factory=lambda: (0,))
    against: str = ""


@dataclass(frozen=True)
class _Column:
    title: str
    cell: Callable[[Row, int], Cell]
    words: bool = False


def main_grid(table: Table, pick: str | None) -> Grid:
    """One metric of all checkpoints, compared with the baseline; columns without content are left out.

    Args:
        table: The table.
        pick: Name of the pick.
    """
    return _grid(table, _COLUMNS, caption_of(table), pick)


def deciding_grid(table: Table, pick: str) -> Grid:
    """The validation items on which the pick was made."""
    on = "the validation items on which the pick was made"
    return _grid(table, _COLUMNS, f"{table.name}: {_what(table)} on {on}", pick)


def against_grid(pick: Pick, digits: int) -> Grid | None:
    """Every other checkpoint against the pick, on the test items; None where none could be compared with it."""
    if not pick.others:
        return None
    return Grid(
        caption=f"Each other checkpoint against {pick.name}, on the test items",
        head=["checkpoint", f"minus {pick.name}, 95 % interval", "verdict", "p adj.", "better / worse / same"],
        lines=[
            Line(
                c.checkpoint, [_difference(c, digits), _verdict(c, digits), Cell(p_value(c.p_adjusted)), _counts(c, 0)]
            )
            for c in pick.others
        ],
        left=(0, 2),
        against=pick.name,
    )


def more_grid(table: Table) -> Grid | None:
    """What else is known of each checkpoint; None where that is nothing."""
    made = _grid(table, _MORE, f"More of {table.name}", None)
    return made if len(made.head) > 1 else None


def _grid(table: Table, columns: Sequence[_Column], caption: str, pick: str | None) -> Grid:
    lines = [[column.cell(row, table.decimals) for column in columns] for row in table.rows]
    used = [place for place in range(len(columns)) if any(line[place].text.strip(NONE) for line in lines)]
    head = ["checkpoint", *(columns[place].title for place in used)]
    return Grid(
        caption=caption,
        head=[title.replace("baseline", table.baseline) for title in head],
        lines=[
            Line(
                name=row.summary.checkpoint,
                cells=[line[place] for place in used],
                picked=table.kind in JUDGED and row.summary.checkpoint == pick,
                baseline=row.summary.checkpoint == table.baseline and columns is _COLUMNS,
            )
            for row, line in zip(table.rows, lines, strict=True)
        ],
        left=(0, *(at for at, place in enumerate(used, 1) if columns[place].words)),
    )


def caption_of(table: Table) -> str:
    """What a table shows, on what."""
    better = all(row.summary.higher_is_better for row in table.rows)
    on = "" if table.kind == "benchmark" else f" on {dataset_name(table.dataset)}"
    if table.role == "validation" and "validation" not in on:
        on += " (validation items)"
    return f"{table.name}: {_what(table)}{on}{'' if better else ' (lower is better)'}"


def _what(table: Table) -> str:
    return {"judge": "mean score", "preference": f"wins against {table.baseline}, %"}.get(table.kind, table.metric)


def _estimate(row: Row, digits: int) -> Cell:
    s = row.summary
    return Cell(number(s.estimate, digits), ends=ends_of(s.estimate, s.low, s.high, digits))


def _difference(c: Comparison, digits: int) -> Cell:
    return Cell(signed(c.difference, digits), ends=interval(c.low, c.high, digits))


def _scored(row: Row, digits: int) -> Cell:
    s = row.summary
    total = s.n_scored + sum(s.n_unscored.values())
    return Cell(count(total) if total == s.n_scored else f"{count(s.n_scored)} of {count(total)}")


def _bounds(row: Row, digits: int) -> Cell:
    low, high = row.summary.bounds or (None, None)
    return Cell(interval(low, high, digits))


def _unscored(row: Row, digits: int) -> Cell:
    return Cell(", ".join(f"{n} {why}" for why, n in row.summary.n_unscored.items()))


def _compared(make: Callable[[Comparison, int], Cell]) -> Callable[[Row, int], Cell]:
    """A cell about the comparison; a dash where there is none."""
    return lambda row, digits: Cell(NONE) if row.comparison is None else make(row.comparison, digits)


def _counts(c: Comparison, digits: int) -> Cell:
    links = (Link(count(c.better), "better"), Link(count(c.worse), "worse"), Link(count(c.same), "same"))
    return Cell("/".join(link.text for link in links), links=links)


def _clustered(c: Comparison, digits: int) -> Cell:
    if c.clustered is None:
        return Cell(NONE)
    return Cell(f"{interval(c.clustered.low, c.clustered.high, digits)}, p {p_value(c.clustered.p)}")


def _bootstrap(c: Comparison, digits: int) -> Cell:
    return Cell(NONE if c.bootstrap is None else interval(*c.bootstrap, digits))


def _missing(c: Comparison, digits: int) -> Cell:
    return Cell("" if not c.missing else f"{100 * c.missing:.1f} %")


def _if_missing(c: Comparison, digits: int) -> Cell:
    return Cell(NONE if c.bounds is None else interval(*c.bounds, digits))


def _verdict(c: Comparison, digits: int) -> Cell:
    return Cell(c.verdict, tone=c.verdict if c.verdict in ("better", "worse") else "")


def _of_seeds(c: Comparison, digits: int) -> Cell:
    return Cell(NONE if c.seeds is None else f"{c.seeds[0]} and {c.seeds[1]}")


# Those that a reader on a telephone needs come first: the others are off the screen there.
_COLUMNS = (
    _Column("estimate, 95 % interval", _estimate),
    _Column("minus baseline, 95 % interval", _compared(_difference)),
    _Column("verdict", _compared(_verdict), words=True),
    _Column("p adj.", _compared(lambda c, digits: Cell(p_value(c.p_adjusted)))),
    _Column("better / worse / same", _compared(_counts)),
    _Column("scored", _scored),
)
_MORE = (
    _Column("p, not adjusted", _compared(lambda c, digits: Cell(p_value(c.p)))),
    _Column("could have missed", _compared(lambda c, digits: Cell(number(c.detectable, digits)))),
    _Column("p of a difference beyond the margin", _compared(lambda c, digits: Cell(p_value(c.p_same)))),
    _Column("in clusters", _compared(_clustered)),
    _Column("by bootstrap", _compared(_bootstrap)),
    _Column("seeds", _compared(_of_seeds)),
    _Column("missing pairs", _compared(_missing)),
    _Column("difference, had all missing been worst, or best", _compared(_if_missing)),
    _Column("had all unscored been worst, or best", _bounds),
    _Column("unscored", _unscored, words=True),
)


def pairs_grid(table: Table) -> Grid | None:
    """Every checkpoint against every other one: row minus column; None where that was not asked for."""
    if not table.pairs:
        return None
    names = [row.summary.checkpoint for row in table.rows]
    made = {(c.checkpoint, c.baseline): c for c in table.pairs}
    digits = table.decimals
    return Grid(
        caption=f"{caption_of(table)}, row minus column; * p < .05, adjusted over all pairs",
        head=["", *names],
        lines=[Line(name, [_pair(made, name, other, digits) for other in names]) for name in names],
    )


def _pair(made: dict[tuple[str, str], Comparison], name: str, other: str, digits: int) -> Cell:
    there, back = made.get((name, other)), made.get((other, name))
    c = there or back
    if c is None:
        return Cell("")
    difference = c.difference if there else -c.difference
    return Cell(f"{signed(difference, digits)}{'*' if c.p_adjusted < LEVEL else ''}")


def remarks(table: Table) -> Iterator[str]:
    """What belongs below a table: chance, what is unscored, other metrics, what makes it doubtful."""
    digits = table.decimals
    chance = next((r.summary.chance for r in table.rows if r.summary.chance is not None), None)
    if chance is not None:
        verdict = ": every interval holds it, so this table says nothing of the checkpoints" if table.at_chance else ""
        yield f"Guessing gives {number(chance, digits)}{verdict}."
    if table.kind == "preference":
        yield "Each item is compared in both orders; a tie, or two orders that differ, counts half."
    if any(row.comparison and row.comparison.clustered for row in table.rows):
        of = "; p is the larger of the plain and the clustered one" if table.fixed_clusters else ", a sample of more"
        yield f"Items come in clusters ({table.clusters}){of}."
    unseen = [r.comparison for r in table.rows if r.comparison and r.comparison.verdict == "can't tell"]
    if unseen:
        known = [f"{number(c.detectable, digits)} ({c.checkpoint})" for c in unseen if math.isfinite(c.detectable)]
        if known:
            yield f"Can't tell: a true difference smaller than {', '.join(known)} is seen less than 4 times in 5."
        if free := [c.checkpoint for c in unseen if math.isinf(c.detectable)]:
            yield f"Nothing says what could have been missed of {', '.join(free)}: what is known does not vary enough."
    for metric, values in table.others.items():
        yield f"{metric}: " + ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    yield from table.warnings
    yield from notes_of(table)


def notes_of(table: Table) -> Iterator[str]:
    """What the reader should know of the outcomes; checkpoints with the same notes together."""
    alike: dict[str, list[str]] = {}
    for name, notes in table.notes.items():
        alike.setdefault("; ".join(notes), []).append(name)
    for said, names in alike.items():
        if said:
            yield f"{', '.join(names)}: {said}."
