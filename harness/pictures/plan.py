"""How many items it takes, as text."""

from collections.abc import Sequence
from math import isfinite

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from harness.comparing.planning import Plan
from harness.findings import Table
from harness.pictures.table import number
from harness.pictures.under import wrapped
from harness.screen import visible


def plan_picture(plans: Sequence[Plan], *, left_out: Sequence[Table] = ()) -> Group:
    """A table for each metric, what the numbers mean, and what is not in points."""
    parts: list[RenderableType] = []
    for plan in plans:
        title = f" {visible(plan.table)}, {plan.unit}, against {visible(plan.needs[0].baseline)}"
        parts += ["" if parts else Text(_what(plan)), Text(title, style="bold"), _table(plan)]
    parts += ["", *_notes(plans)]
    for table in left_out:
        named = f"{visible(table.name)}, {table.metric}"
        parts += wrapped(f"left out: {named}: not in points; --metric {table.metric} takes an --mde in its unit")
    return Group(*parts)


def _what(plan: Plan) -> str:
    unit = "points" if plan.in_points else f"in {plan.unit}"
    return f"items to see a difference of {plan.mde:g} {unit} in {plan.power:.0%} of cases (two-sided, p < .05)"


def _table(plan: Plan) -> RichTable:
    made = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    made.add_column("", overflow="fold")
    for title in ("now", "items", "show", "needed"):
        made.add_column(title, justify="right", no_wrap=True)
    made.add_column("verdict now", overflow="fold")
    for need in plan.needs:
        numbers = [f"{need.difference:+.{plan.decimals}f}", f"{need.n:,}"]
        numbers.append(number(need.detectable, plan.decimals) if isfinite(need.detectable) else "–")
        numbers.append("–" if need.needed is None else f"{need.needed:,}")
        made.add_row(escape(f" {visible(need.checkpoint)}"), *numbers, need.verdict)
    return made


def _notes(plans: Sequence[Plan]) -> list[Text]:
    lines = [" now: the difference; show: what the items of now would show in 4 of 5 cases"]
    if any(plan.unit == "percent of wins" for plan in plans) and len(plans) > 1:
        lines.append(" points of wins are not points of a score: choose a difference for each")
    lines.append(" each comparison by itself: several at once, adjusted after Holm, take more")
    return [Text(line) for line in lines]
