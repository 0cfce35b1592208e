"""A panel of judges as a table, a column for each judge left out, and as lines."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from harness.cards.panel import PairAgreement, Panel, PanelRow

WIDTH = 80
_SIDE_BY_SIDE = 5  # judges: more take another table below
_PAIRS = 6  # lines of rank correlations, the lowest; more are in --json


def panel_parts(panel: Panel) -> Iterator[RenderableType]:
    """Everything of a panel: tables, then what they mean."""
    for start in range(0, len(panel.judges), _SIDE_BY_SIDE):
        yield panel_table(panel, panel.judges[start : start + _SIDE_BY_SIDE])
    for line in panel_lines(panel):
        yield from (Text(part) for part in wrap(line, WIDTH, initial_indent=" ", subsequent_indent="   "))


def panel_table(panel: Panel, judges: Sequence[str]) -> RichTable:
    """A row for each checkpoint: the mean, then the mean without each of some judges.

    Args:
        panel: All of it.
        judges: Which of them are left out in turn.
    """
    table = RichTable(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("", overflow="fold")
    table.add_column("mean  95 %", justify="right", no_wrap=True)
    room = max(8, (WIDTH - 36) // len(judges))
    for judge in judges:
        title = "\n".join(wrap(f"without {judge}", room))
        table.add_column(escape(title), justify="right", overflow="fold")
    for row in panel.rows:
        cells = [_mark(row, judge, panel) + _number(row.without[judge], panel) for judge in judges]
        table.add_row(escape(f" {row.checkpoint}"), _mean(row, panel), *cells)
    return table


def panel_lines(panel: Panel) -> list[str]:
    """What the table rests on, what a judge left out changes, and how far the judges agree."""
    over = f"{panel.items} items that all {len(panel.judges)} judges scored for every checkpoint"
    lines = [f"mean over judges on {over}" + (f"; {panel.left_out} left out" if panel.left_out else "")]
    if panel.rescaled:
        lines.append("scales differ: all are put on 0 to 100")
    return [*lines, *_changes(panel), *_agreement(panel)]


def _changes(panel: Panel) -> Iterator[str]:
    if len(panel.rows) < 2:
        return
    if not panel.reordered and not panel.other_winner:
        yield "no judge left out changes the order"
    for judge in panel.judges:
        if names := panel.other_winner.get(judge):
            instead = f" instead of {panel.winner}" if panel.winner and panel.winner not in names else ""
            yield f"* without {judge}: {' and '.join(names)} first{instead}"
        elif judge in panel.reordered:
            yield f"without {judge}: the same first, others change places"


def _agreement(panel: Panel) -> Iterator[str]:
    if panel.alpha is None:
        yield "agreement of the judges is not defined: their scores do not vary"
        return
    interval = ""
    if panel.alpha_low is not None and panel.alpha_high is not None:
        interval = f" ({panel.alpha_low:.2f} to {panel.alpha_high:.2f})"
    yield f"agreement: Krippendorff's alpha {panel.alpha:.2f}{interval}; 1 is full, 0 is chance"
    shown = sorted(panel.pairs, key=lambda pair: pair.spearman if pair.spearman is not None else -2.0)
    for pair in shown[:_PAIRS]:
        yield _pair(pair)
    if len(shown) > _PAIRS:
        yield f"{len(shown) - _PAIRS} other pairs agree more: --json has them"


def _pair(pair: PairAgreement) -> str:
    names = f"{pair.judges[0]} and {pair.judges[1]}"
    if pair.spearman is None:
        return f"{names}: no rank correlation, one says the same of all"
    return f"{names}: Spearman {pair.spearman:.2f}"


def _mark(row: PanelRow, judge: str, panel: Panel) -> str:
    """A star where leaving this judge out puts another checkpoint first."""
    changed = row.checkpoint in panel.other_winner.get(judge, []) and row.checkpoint != panel.winner
    return "*" if changed else ""


def _mean(row: PanelRow, panel: Panel) -> str:
    return f"{_number(row.mean, panel)}  {_number(row.low, panel)}–{_number(row.high, panel)}"


def _number(value: float, panel: Panel) -> str:
    return f"{value:.{1 if panel.scale[1] - panel.scale[0] > 20 else 2}f}"
