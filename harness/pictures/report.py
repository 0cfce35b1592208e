"""The picture: what `compare` found, as text for a terminal. Building is apart from printing."""

from collections.abc import Iterator, Sequence
from math import isfinite

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from harness.comparing.side_by_side import LEVEL
from harness.findings import JUDGED, Losses, Pick, Report, Settle, Table
from harness.opinions.findings import Opinions
from harness.opinions.headline import checked_gain
from harness.pictures.card import card_lines
from harness.pictures.foremost import foremost_sentence
from harness.pictures.groups import agreements_lines, breakdown_parts
from harness.pictures.opinions import opinions_parts
from harness.pictures.overlap import clean_lines, overlap_parts, says_something
from harness.pictures.pairs import pairs_parts
from harness.pictures.panel import panel_parts
from harness.pictures.table import details_lines, details_of, table_of
from harness.pictures.trajectory import trajectory_parts
from harness.pictures.under import under, wrapped


def picture(report: Report, *, full: bool = False, after: Sequence[RenderableType] = ()) -> Group:
    """Everything a reader needs, from the pick to what to do next.

    Args:
        report: What was found.
        full: With what else is known of each row.
        after: What to show at the end.
    """
    parts: list[RenderableType] = [*_head(report)]
    for table in report.tables:
        if table in report.shown:
            several = table.kind in JUDGED and sum(t.kind in JUDGED for t in report.shown) > 1
            parts += ["", Text(f" {table.name}")] if several else []
            parts += [*([""] if parts else []), table_of(table, report), *under(table)]
            if full:
                parts += ["", details_of(table, report.pick if table is report.headline else None)]
                parts += _lines(details_lines(table))
            parts += pairs_parts(table)
            for shown in report.breakdowns:
                own = (shown.name, shown.dataset) == (table.name, table.dataset)
                parts += breakdown_parts(shown, full=full) if own else []
    parts += ["", *opinions_parts(report.opinions)] if report.opinions else []
    parts += ["", *panel_parts(report.panel)] if report.panel else []
    parts += _lines(agreements_lines(report.agreements))
    if report.trajectory:
        parts += ["", *trajectory_parts(report.trajectory, report.losses)]
    elif report.losses:
        parts += ["", *_lines(losses_lines(report.losses))]
    found = [overlap for overlap in report.overlaps if says_something(overlap)]
    parts += ["", *overlap_parts(found, full=full, brief=not full), ""] if found else []
    parts += [*_lines(_closing(report, full=full))]
    parts += clean_lines(report.overlaps)
    parts += [line for text in settle_lines(report.settle) for line in wrapped(text)]
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
    yield Text(f"{n} {table.role} items · judge {judge}, {rubric}{picked}{seen}")
    if report.pick:
        yield ""
        told = pick_sentence(report.pick, report.baseline, report.opinions)
        yield Text.from_markup(f" [bold]PICK {escape(told)}[/bold]")
        if report.pick.picked_on == "test":
            yield Text(" The pick and its score share the test items, so the score flatters it.")
    elif report.foremost:
        yield ""
        yield from wrapped(foremost_sentence(report))


def pick_sentence(pick: Pick, baseline: str, opinions: Opinions | None = None) -> str:
    """The first thing to read: the pick, its gain with interval, and who is as good as far as one can tell."""
    c = pick.against_base
    if c is None:
        first = _best_already(pick) if pick.name == baseline else f"{pick.name}."
    else:
        word = "over" if c.difference >= 0 else "on the test items against"
        ends = f"{c.low:.1f} to {c.high:.1f}" if isfinite(c.high - c.low) else "interval unknown"
        first = f"{pick.name}: {c.difference:+.1f} {word} {c.baseline} ({ends})."
    if opinions and c is not None and (checked := checked_gain(pick.name, opinions)):
        first += f" {checked}"
    if pick.worse_on:
        lost = listed([f"{c.metric} ({c.difference:+.1f})" for c in pick.worse_on])
        first += f" But it is worse than {pick.worse_on[0].baseline} on {lost}."
    if pick.contradicted:
        better = listed(pick.contradicted)
        first += f" But on the test items {better} did better, which {pick.n_deciding} validation items did not show."
    if not pick.undecided:
        return first
    others = listed(pick.undecided)
    # An interval stands for itself; with p adjusted for all rows it may hold less than it seems to.
    even = c is not None and c.baseline in pick.undecided and c.verdict == "can't tell"
    adjusted = "With p adjusted for all rows, " if even and c is not None and c.p < LEVEL <= c.p_adjusted else ""
    return f"{first} {adjusted}{others} cannot be told apart from it{_ahead(pick)}."


def _ahead(pick: Pick) -> str:
    """How little the pick may rest on."""
    if pick.picked_on == "test" or pick.lead is None or pick.runner_up not in pick.undecided:
        return ""
    close = pick.lead < 0.05  # shown as 0.0
    ahead = f"{pick.runner_up} was as good" if close else f"it was {pick.lead:.1f} ahead of {pick.runner_up}"
    return f": on the {pick.n_deciding} validation items {ahead}"


def _best_already(pick: Pick) -> str:
    if pick.picked_on == "test":
        return f"{pick.name}: nothing beats the baseline."
    return f"{pick.name}: none scored higher on the {pick.n_deciding} validation items."


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def losses_lines(losses: Losses) -> list[str]:
    """Validation loss at each checkpoint, and where it turned."""
    at = "  ".join(f"{name} {loss:.3f}" for name, loss in losses.at.items() if loss is not None)
    turned = "did not turn in" if losses.turned is None else f"turned at step {losses.turned} of"
    return [f"validation loss {turned} {losses.steps} steps", *([f"  {at}"] if at else [])]


def settle_lines(settle: Sequence[Settle]) -> Iterator[str]:
    """How many items would tell from the pick those that cannot be told from it."""
    enough = [one for one in settle if one.needed <= one.n]
    more = [one for one in settle if one.needed > one.n]
    if enough:
        names = listed([one.checkpoint for one in enough])
        first = enough[0]
        yield f"{first.points:g} points between {first.pick} and {names} would most likely have shown by now"
    if more:
        first = more[0]
        each = ", ".join(f"{one.checkpoint} about {one.needed:,}" for one in more)
        yield (
            f"to settle {first.points:g} points against {first.pick}: {each} items ({first.n:,} now), "
            f"or compare the answers: judge --pairwise --against {first.pick}"
        )


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
    yield from report.remarks
    if report.left_out:
        yield f"not shown: {', '.join(report.left_out)}; --dataset and --judge choose too"


def _leakage(report: Report, table: Table) -> str:
    n = max((r.summary.n_scored + sum(r.summary.n_unscored.values()) for r in table.rows), default=0)
    if not report.leaked:
        return "leakage: unknown, nothing here remembers what it was trained on"
    worst = {name: count for name, count in report.leaked.items() if count}
    if not worst:
        return f"leakage: 0 of {n} {table.role} items in the training data"
    return "leakage: " + ", ".join(
        f"{count} of {n} {table.role} items in {name}'s training data" for name, count in worst.items()
    )
