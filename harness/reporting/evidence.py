"""What stands beside the numbers: people, the panel of judges, overlap with training data, agreements."""

from collections.abc import Iterator, Sequence

from harness.cards.panel import Panel
from harness.findings import Agreement
from harness.opinions.findings import Line as OneLine
from harness.opinions.findings import Opinion, Opinions
from harness.overlap.findings import Overlap
from harness.reporting.grids import Cell, Grid, Line
from harness.reporting.numbers import NONE, count, digits_of, interval, number, signed

_HEADLINES = {"judge": "judge alone", "people": "people alone", "corrected": "judge corrected by people"}


def opinions_grids(opinions: Opinions) -> list[Grid]:
    """The judge, people, and the judge corrected by people: of each checkpoint, then of each against the baseline."""
    digits = 1 if opinions.scale[1] - opinions.scale[0] > 20 else 2
    made = []
    if opinions.scores:
        made.append(_opinions("Scores by judge and people", opinions.scores, digits, sign=False))
    if opinions.differences:
        base = opinions.differences[0].baseline
        made.append(_opinions(f"Differences to {base} by judge and people", opinions.differences, digits, sign=True))
    return made


def _opinions(caption: str, lines: Sequence[Opinion], digits: int, *, sign: bool) -> Grid:
    def said(line: OneLine | None, what: str = "items") -> Cell:
        if line is None:
            return Cell(NONE)
        shown = (signed if sign else number)(line.estimate, digits)
        return Cell(f"{shown} ({interval(line.low, line.high, digits, sign=sign)}), {line.n:.0f} {what}")

    return Grid(
        caption=caption,
        head=["checkpoint", *_HEADLINES.values(), "correlation", "weight of the judge", "go by"],
        lines=[
            Line(
                opinion.checkpoint,
                [
                    said(opinion.judge),
                    said(opinion.people, "labelled"),
                    said(opinion.corrected, "labels' worth"),
                    Cell(number(opinion.r, 2)),
                    Cell(number(opinion.weight, 2)),
                    Cell(_HEADLINES[opinion.headline]),
                ],
            )
            for opinion in lines
        ],
        left=(0, 6),
    )


def overlap_grid(overlap: Overlap) -> Grid | None:
    """Each score on all items, and on those that do not occur in the training data."""
    if not overlap.scores:
        return None
    digits = digits_of(score.all_items for score in overlap.scores)
    minus = [f"minus {overlap.baseline}" if overlap.baseline else "difference", "95 % interval of the difference"]
    return Grid(
        caption=f"{overlap.table}: {overlap.metric} with and without what occurs in {overlap.train}",
        head=["checkpoint", "all items", "items", "without overlap", "95 % interval", "items left", *minus],
        lines=[
            Line(
                score.checkpoint,
                [
                    Cell(number(score.all_items, digits)),
                    Cell(count(score.n)),
                    Cell(number(score.clean, digits)),
                    Cell(interval(score.low, score.high, digits)),
                    Cell(count(score.n_clean)),
                    Cell(signed(score.difference, digits)),
                    Cell(interval(score.difference_low, score.difference_high, digits, sign=True)),
                ],
            )
            for score in overlap.scores
        ],
    )


def overlap_lines(overlap: Overlap) -> Iterator[str]:
    """What was looked for and what was found."""
    near = f", {count(overlap.near)} more share at least {overlap.threshold:.0%} of it with one training entry"
    of = f" of {count(overlap.entries)} entries" if overlap.entries else ""
    yield (
        f"{overlap.dataset} in {overlap.train}{of}: {count(overlap.items)} items looked for; {count(overlap.exact)} "
        f"are in there whole{near if overlap.n else ''}."
    )
    if overlap.textless:
        yield f"{count(overlap.textless)} items could not be looked for, since the run keeps no question of theirs."
    if overlap.note:
        yield overlap.note
    answered = sum(found.with_answer for found in overlap.found)
    if answered:
        yield f"{count(answered)} of them are in there with the expected answer."


def panel_grid(panel: Panel) -> Grid:
    """Each checkpoint's mean over judges, by each judge, and with each judge left out."""
    digits = 1 if panel.scale[1] - panel.scale[0] > 20 else 2
    return Grid(
        caption="Several judges on the same items",
        head=["checkpoint", "mean", "95 % interval", *panel.judges, *(f"without {judge}" for judge in panel.judges)],
        lines=[
            Line(
                row.checkpoint,
                [
                    Cell(number(row.mean, digits)),
                    Cell(interval(row.low, row.high, digits)),
                    *(Cell(number(row.by_judge.get(judge), digits)) for judge in panel.judges),
                    *(Cell(number(row.without.get(judge), digits)) for judge in panel.judges),
                ],
            )
            for row in panel.rows
        ],
    )


def agreements_grid(agreements: Sequence[Agreement]) -> Grid | None:
    """How often each checkpoint chose the same by log-likelihood and in writing."""
    if not agreements:
        return None
    return Grid(
        caption="The same questions by log-likelihood and in writing",
        head=["", "benchmark", "same choice", "95 % interval, %", "right by log-likelihood, %", "right written, %"],
        lines=[
            Line(
                a.checkpoint,
                [
                    Cell(a.name),
                    Cell(f"{count(a.same)} of {count(a.n)}"),
                    Cell(interval(a.low, a.high, 1)),
                    Cell(number(a.by_likelihood, 1)),
                    Cell(number(a.written, 1)),
                ],
            )
            for a in agreements
        ],
        left=(0, 1),
    )
