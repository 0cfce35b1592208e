"""Every checkpoint against every other one, as a matrix of differences."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from harness.findings import Table
from harness.pictures.fitting import LEAST, WIDTH, AtWidth, plain_table
from harness.pictures.table import signed
from harness.records import Comparison

NAME = 16  # characters of a name at the side before it is folded
HEAD = 12  # of one above a column
DECIDED = ("better", "worse")


def pairs_parts(table: Table) -> Iterator[RenderableType]:
    """Row minus column, a star where it can be told; in several matrices where columns do not fit side by side."""
    if not table.pairs:
        return
    yield AtWidth(lambda width: _matrices(table, min(width, WIDTH)))
    adjusted = f"p adjusted over {len(table.pairs)} pairs (Holm)" if len(table.pairs) > 1 else "one pair"
    yield Text(f" row minus column; * p < .05, {adjusted}")


def _matrices(table: Table, room: int) -> Iterator[RenderableType]:
    names = [row.summary.checkpoint for row in table.rows]
    cells = {(c.checkpoint, c.baseline): _cell(c, table.decimals) for c in table.pairs}
    cells |= {(c.baseline, c.checkpoint): _cell(c, table.decimals, turned=True) for c in table.pairs}
    numbers, called = max(map(len, cells.values()), default=1), min(HEAD, max(map(len, names)))
    side = min(NAME, max(map(len, names)), max(LEAST, room - max(numbers, 6) - 3))
    widest = side + 2
    # Names are folded only where all columns fit side by side no other way.
    width = max(numbers, called) if (max(numbers, called) + 1) * len(names) + widest <= room else max(numbers, 6)
    at_once = max(1, (room - widest) // (width + 1))
    for start in range(0, len(names), at_once):
        yield ""
        yield _matrix(names, names[start : start + at_once], cells, width, side)


def _cell(c: Comparison, decimals: int, *, turned: bool = False) -> str:
    value = -c.difference if turned else c.difference
    mark = "*" if c.verdict in DECIDED else "?" if c.verdict.endswith("missing") else " "
    return f"{signed(value, decimals)}{mark}"


def _matrix(
    names: Sequence[str], across: Sequence[str], cells: dict[tuple[str, str], str], width: int, side: int
) -> RichTable:
    """Columns of one width, names at the side folded to another."""
    made = plain_table()
    made.add_column("", overflow="fold", max_width=side + 1)
    for name in across:
        made.add_column(escape(name), justify="right", min_width=width, max_width=width, overflow="fold")
    for name in names:
        line = ["·" if name == other else cells.get((name, other), "–") for other in across]
        made.add_row(escape(f" {name}"), *line)
    return made
