"""What belongs below one table: chance, what could not be told, what is unscored, what makes it doubtful."""

from collections.abc import Iterator
from textwrap import wrap

from rich.console import RenderableType
from rich.text import Text

from harness.findings import JUDGED, Table
from harness.pictures.fitting import WIDTH, AtWidth
from harness.pictures.table import SHORT, missed, p_text
from harness.records import Summary

ENOUGH = 6  # items: fewer cannot be told from nothing, even if all of them are better (2 / 2**5 > .05)
OTHERS = 4  # lines for other metrics below a table


def under(table: Table) -> Iterator[RenderableType]:
    """What belongs below one table: chance, and what is unscored."""
    chance = next((r.summary.chance for r in table.rows if r.summary.chance is not None), None)
    if chance is not None:
        verdict = ": every interval holds it, so this table says nothing here" if table.at_chance else ""
        yield Text(f" chance {chance:.{table.decimals}f}{verdict}")
    if table.kind == "preference":
        yield Text(" wins %: each item in both orders against one answer; a tie, or two orders that differ, is half")
    elif table.metric not in ("acc", "score"):
        yield Text(f" metric: {table.metric}")
    if len(table.baseline) > SHORT and any(row.comparison for row in table.rows):
        yield Text(f" base: {table.baseline}")
    unseen = [r.comparison for r in table.rows if r.comparison and r.comparison.verdict == "can't tell"]
    if few := [c for c in unseen if c.n < ENOUGH]:
        yield Text(f" too few items ({min(c.n for c in few)}) for any difference to be told")
    elif unseen:
        each = ", ".join(f"{missed(c.detectable, table.decimals)} ({c.checkpoint})" for c in unseen)
        yield Text(f" can't tell: could have missed {each}")
    yield from _clusters(table)
    yield from _unscored(table)
    for warning in table.warnings:
        yield from wrapped(f"! {warning}")
    alike: dict[str, list[str]] = {}
    for name, notes in table.notes.items():
        alike.setdefault("; ".join(notes), []).append(name)
    for said, names in alike.items():
        yield from wrapped(f"{', '.join(names)}: {said}")
    yield from _others(table)


def wrapped(line: str, *, indent: int = 1) -> Iterator[AtWidth]:
    """A long line as several, the later ones further in."""
    yield AtWidth(lambda width: _folded(line, " " * indent, min(width, WIDTH)))


def _folded(line: str, indent: str, width: int) -> Iterator[Text]:
    lines = wrap(line, width, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False)
    yield from map(Text, lines)


def _clusters(table: Table) -> Iterator[RenderableType]:
    """The same differences with items in clusters, and which of both the verdicts follow."""
    compared = [row.comparison for row in table.rows if row.comparison and row.comparison.clustered]
    told = [(c.checkpoint, c.clustered) for c in compared if c.clustered]
    if not told:
        return
    n = max(clustered.clusters for _, clustered in told)
    if not table.fixed_clusters:
        yield Text(f" intervals and p for items in clusters: {n} of {table.clusters}")
        return
    digits = table.decimals
    each = ", ".join(f"{name} ±{(c.high - c.low) / 2:.{digits}f} p {p_text(c.p)}" for name, c in told)
    yield from wrapped(f"with {n} {table.clusters}s as clusters: {each}; verdicts by the larger p")


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
