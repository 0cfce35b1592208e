"""The picture: what `compare` found, as text for a terminal. Building is apart from printing."""

from collections.abc import Collection, Iterator, Sequence
from textwrap import wrap
from typing import Literal

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from harness.findings import JUDGED, Losses, Pick, Report, Row, Table
from harness.pictures.card import card_lines
from harness.pictures.groups import agreements_lines, breakdown_parts
from harness.pictures.panel import panel_parts
from harness.pictures.trajectory import trajectory_parts
from harness.records import Comparison, Summary

_SHORT = 9  # characters of a baseline's name that a title has room for
_ENOUGH = 6  # items: fewer cannot be told from nothing, even if all of them are better (2 / 2**5 > .05)
WIDTH = 80  # characters that a terminal has at least
_TITLES = {"judge": "judge", "preference": "wins %"}
OTHERS = 4  # lines for other metrics below a table


def picture(report: Report, *, full: bool = False, after: Sequence[RenderableType] = ()) -> Group:
    """Everything a reader needs, from the pick to what to do next.

    Args:
        report: What was found.
        full: With what else is known of each row.
        after: What to show at the end.
    """
    parts: list[RenderableType] = [*_head(report)]
    for table in report.tables:
        if table.role == "test":
            several = table.kind in JUDGED and sum(t.kind in JUDGED and t.role == "test" for t in report.tables) > 1
            parts += ["", Text(f" {table.name}")] if several else []
            parts += [*([""] if parts else []), table_of(table, report), *_under(table)]
            parts += ["", details_of(table)] if full else []
            for shown in report.breakdowns:
                parts += breakdown_parts(shown, full=full) if shown.dataset == table.dataset else []
    parts += ["", *panel_parts(report.panel)] if report.panel else []
    parts += _lines(agreements_lines(report.agreements))
    if report.trajectory:
        parts += ["", *trajectory_parts(report.trajectory, report.losses)]
    elif report.losses:
        parts += ["", *_lines(losses_lines(report.losses))]
    parts += [*_lines(_closing(report, full=full))]
    parts += after
    return Group(*parts)


def _lines(texts: Sequence[str] | Iterator[str]) -> Iterator[Text]:
    for text in texts:
        yield Text(f" {text}")


def _head(report: Report) -> Iterator[RenderableType]:
    table = report.headline
    if table is None:
        return
    n = max((r.summary.n_scored + sum(r.summary.n_unscored.values()) for r in table.rows), default=0)
    seen = f" · seen {report.looks}x" if report.looks else ""
    picked = f" · picked on {report.pick.picked_on}" if report.pick else ""
    judge, _, rubric = table.name.removeprefix("judge ").partition("+")
    yield Text(f"{n} test items · judge {judge}, {rubric}{picked}{seen}")
    if report.pick:
        yield ""
        yield Text.from_markup(f" [bold]PICK {escape(pick_sentence(report.pick, report.baseline))}[/bold]")
        if report.pick.picked_on == "test":
            yield Text(" The pick and its score share the test items, so the score flatters it.")


def pick_sentence(pick: Pick, baseline: str) -> str:
    """The first thing to read: the pick, its gain with interval, and who is as good as far as one can tell."""
    c = pick.against_base
    if c is None:
        first = _best_already(pick) if pick.name == baseline else f"{pick.name}."
    else:
        word = "over" if c.difference >= 0 else "on the test items against"
        first = f"{pick.name}: {c.difference:+.1f} {word} {c.baseline} ({c.low:.1f} to {c.high:.1f})."
    if pick.contradicted:
        better = _listed(pick.contradicted)
        first += f" But on the test items {better} did better, which {pick.n_deciding} validation items did not show."
    if not pick.undecided:
        return first
    others = _listed(pick.undecided)
    # An interval stands for itself; with p adjusted for all rows it may hold less than it seems to.
    adjusted = "With p adjusted for all rows, " if c is not None and c.baseline in pick.undecided else ""
    return f"{first} {adjusted}{others} cannot be told apart from it."


def _best_already(pick: Pick) -> str:
    if pick.picked_on == "test":
        return f"{pick.name}: nothing beats the baseline."
    return f"{pick.name}: none scored higher on the {pick.n_deciding} validation items."


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def table_of(table: Table, report: Report) -> RichTable:
    """One metric of all checkpoints, in seven columns."""
    name = _TITLES.get(table.kind, table.name.replace("_generated", " generated"))
    titles = ["", f"{name}  95 %", "scored", _versus(table), "p adj", "+/-/=", "verdict"]
    pick = report.pick.name if report.pick and table.kind in JUDGED else None
    picked = [number for number, row in enumerate(table.rows) if row.summary.checkpoint == pick]
    cells = [_cells(row, number in picked) for number, row in enumerate(table.rows)]
    return _rich_table(titles, cells, bold=picked, left=(0, 6))


def _versus(table: Table) -> str:
    """Against what: by name, where the name is short enough for a title; else it stands below the table."""
    return f"vs {table.baseline}" if len(table.baseline) <= _SHORT else "vs base"


def details_of(table: Table) -> RichTable:
    """What else is known of each row."""
    titles = ["", "p", "diff. 95 %", "could miss", "bounds", "unscored"]
    return _rich_table(titles, [_more_cells(row) for row in table.rows], left=(0, 5))


def _rich_table(
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


def _cells(row: Row, picked: bool) -> list[str]:
    s, c = row.summary, row.comparison
    total = s.n_scored + sum(s.n_unscored.values())
    name = ("▸" if picked else " ") + s.checkpoint
    cells = [name, _estimate(s), f"{s.n_scored}/{total}"]
    if c is None:
        return [*cells, "–", "", "", ""]
    half = (c.high - c.low) / 2
    return [
        *cells,
        f"{c.difference:+.1f} ±{half:.1f}",
        _p(c.p_adjusted),
        f"{c.better}/{c.worse}/{c.same}",
        c.verdict,
    ]


def _more_cells(row: Row) -> list[str]:
    s, c = row.summary, row.comparison
    of_difference = ["", "–", ""] if c is None else _difference_cells(c)
    bounds = f"{s.bounds[0]:.1f} to {s.bounds[1]:.1f}" if s.bounds else ""
    unscored = "\n".join(f"{n} {why}" for why, n in s.n_unscored.items())
    return [f" {s.checkpoint}", *of_difference, bounds, unscored]


def _difference_cells(c: Comparison) -> list[str]:
    return [_p(c.p), f"{c.low:+.1f} to {c.high:+.1f}", f"{c.detectable:.1f}"]


def _estimate(s: Summary) -> str:
    if s.estimate is None:
        return "–"
    if s.low is None or s.high is None:
        return f"{s.estimate:.1f}"
    return f"{s.estimate:.1f}  {s.low:.1f}–{s.high:.1f}"


def _p(p: float) -> str:
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def _under(table: Table) -> Iterator[Text]:
    """What belongs below one table: chance, and what is unscored."""
    chance = next((r.summary.chance for r in table.rows if r.summary.chance is not None), None)
    if chance is not None:
        verdict = ": every interval holds it, so this table says nothing here" if table.at_chance else ""
        yield Text(f" chance {chance:.1f}{verdict}")
    if table.kind == "preference":
        yield Text(" wins %: each item in both orders against one answer; a tie, or two orders that differ, is half")
    elif table.metric not in ("acc", "score"):
        yield Text(f" {table.metric}")
    if len(table.baseline) > _SHORT and any(row.comparison for row in table.rows):
        yield Text(f" base: {table.baseline}")
    unseen = [r.comparison for r in table.rows if r.comparison and r.comparison.verdict == "can't tell"]
    if few := [c for c in unseen if c.n < _ENOUGH]:
        yield Text(f" too few items ({min(c.n for c in few)}) for any difference to be told")
    elif unseen:
        yield Text(
            f" can't tell: could have missed {', '.join(f'{c.detectable:.1f} ({c.checkpoint})' for c in unseen)}"
        )
    yield from _unscored(table)
    yield from _others(table)


def _unscored(table: Table) -> Iterator[Text]:
    """How many items have no score, why, and what they could move."""
    unscored = sum(sum(r.summary.n_unscored.values()) for r in table.rows)
    if unscored:
        total = unscored + sum(r.summary.n_scored for r in table.rows)
        moves = [_moves(r.summary) for r in table.rows]
        at_most = f", moves an estimate by at most {max(moves):.1f}" if any(moves) else ""
        why: dict[str, int] = {}
        for row in table.rows:
            for reason, n in row.summary.n_unscored.items():
                why[reason] = why.get(reason, 0) + n
        yield Text(f" {unscored} of {total} unscored ({', '.join(f'{n} {r}' for r, n in why.items())}){at_most}")
        if table.kind in JUDGED and set(why) - {"not judged yet", "no answer"}:
            yield Text(" --retry-unscored judges these again")


def _others(table: Table) -> Iterator[Text]:
    """The benchmark's other metrics, a line for each, checkpoints side by side."""
    for metric, values in list(table.others.items())[:OTHERS]:
        yield Text(f" {metric}: " + " · ".join(f"{name} {value:.4g}" for name, value in values.items()))
    if len(table.others) > OTHERS:
        yield Text(f" {len(table.others) - OTHERS} other metrics: --json has them")


def _moves(s: Summary) -> float:
    if s.bounds is None or s.estimate is None:
        return 0.0
    return max(abs(bound - s.estimate) for bound in s.bounds)


def losses_lines(losses: Losses) -> list[str]:
    """Validation loss at each checkpoint, and where it turned."""
    at = "  ".join(f"{name} {loss:.3f}" for name, loss in losses.at.items() if loss is not None)
    turned = "did not turn in" if losses.turned is None else f"turned at step {losses.turned} of"
    return [f"validation loss {turned} {losses.steps} steps", *([f"  {at}"] if at else [])]


def _closing(report: Report, *, full: bool) -> Iterator[str]:
    table = report.headline
    if table is None:
        return
    if any(r.comparison and r.comparison.verdict == "can't tell" for t in report.tables for r in t.rows):
        yield "could have missed x: smaller true differences are seen less than 4 times in 5"
    margins = {r.comparison.margin for r in table.rows if r.comparison and r.comparison.margin is not None}
    for margin in margins:
        yield f"same within {margin:g}: the 90 % interval of the difference lies inside ±{margin:g} (p after Holm)"
    if any(r.comparison for r in table.rows):
        yield "vs and +/-/=: paired on the items both have; p after Holm over the rows shown"
    for card in report.cards:
        yield from card_lines(card, full=full)
    yield _leakage(report, table)
    for name, notes in report.notes.items():
        yield f"{name}: {'; '.join(notes)}"
    for name, why in report.skipped.items():
        yield f"left out: {name}: {why}"
    if report.left_out:
        yield f"not shown: {', '.join(report.left_out)}; --dataset and --judge choose too"


def _leakage(report: Report, table: Table) -> str:
    n = max((r.summary.n_scored + sum(r.summary.n_unscored.values()) for r in table.rows), default=0)
    if not report.leaked:
        return "leakage: unknown, nothing here remembers what it was trained on"
    worst = {name: count for name, count in report.leaked.items() if count}
    if not worst:
        return f"leakage: 0 of {n} test items in the training data"
    return "leakage: " + ", ".join(
        f"{count} of {n} test items in {name}'s training data" for name, count in worst.items()
    )
