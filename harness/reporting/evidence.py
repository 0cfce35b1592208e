"""What stands beside the numbers: people, the panel of judges, agreements."""

from collections.abc import Sequence

from harness.cards.panel import Panel
from harness.findings import Agreement
from harness.opinions.findings import Headline, Opinion, Opinions
from harness.opinions.findings import Line as OneLine
from harness.opinions.headline import disagreement, headline_sentence
from harness.reporting.grids import Cell, Grid, Line
from harness.reporting.numbers import NONE, count, interval, number, signed

_SHORT: dict[Headline, str] = {"judge": "the judge", "people": "people", "corrected": "corrected"}


def opinions_grids(opinions: Opinions) -> list[Grid]:
    """The judge, people, and the judge corrected by people: of scores, of differences to the baseline, of wins."""
    digits = 1 if opinions.scale[1] - opinions.scale[0] > 20 else 2
    made = []
    if opinions.scores:
        made.append(_opinions("Scores by judge and people", opinions.scores, digits, sign=False))
    if opinions.differences:
        base = opinions.differences[0].baseline
        made.append(_opinions(f"Differences to {base} by judge and people", opinions.differences, digits, sign=True))
    if opinions.wins:
        caption = f"Wins against {opinions.wins[0].baseline} by judge and people, % (a tie is half)"
        made.append(_opinions(caption, opinions.wins, 1, sign=False))
    return made


def opinions_sentences(opinions: Opinions) -> list[str]:
    """Which line to go by and why, where people and judge do not agree, and what limits the numbers."""
    told = [headline_sentence(opinions), disagreement(opinions)]
    return [f"{sentence[0].upper()}{sentence[1:]}." for sentence in told if sentence] + list(opinions.notes)


def _opinions(caption: str, lines: Sequence[Opinion], digits: int, *, sign: bool) -> Grid:
    def said(opinion: Opinion, which: Headline, line: OneLine | None) -> Cell:
        if line is None:
            return Cell(NONE)
        tone = "headline" if opinion.headline == which else ""
        ends = interval(line.low, line.high, digits)
        return Cell((signed if sign else number)(line.estimate, digits), ends=ends, tone=tone)

    def n_of(line: OneLine | None) -> Cell:
        return Cell(NONE if line is None else count(round(line.n)))

    estimates = ["judge alone, 95 % interval", "people alone", "judge corrected by people"]
    rest = ["go by", "labelled", "labels' worth", "corr."]
    return Grid(
        caption=caption,
        head=["checkpoint", *estimates, *rest],
        lines=[
            Line(
                opinion.checkpoint,
                [
                    said(opinion, "judge", opinion.judge),
                    said(opinion, "people", opinion.people),
                    said(opinion, "corrected", opinion.corrected),
                    Cell(_SHORT[opinion.headline]),
                    n_of(opinion.people),
                    n_of(opinion.corrected),
                    Cell(number(opinion.r, 2)),
                ],
            )
            for opinion in lines
        ],
        left=(0, 4),
    )


def panel_grid(panel: Panel) -> Grid:
    """Each checkpoint's mean over judges, by each judge, and with each judge left out."""
    digits = 1 if panel.scale[1] - panel.scale[0] > 20 else 2
    return Grid(
        caption="Several judges on the same items",
        head=["checkpoint", "mean, 95 % interval", *panel.judges, *(f"without {judge}" for judge in panel.judges)],
        lines=[
            Line(
                row.checkpoint,
                [
                    Cell(number(row.mean, digits), ends=interval(row.low, row.high, digits)),
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
