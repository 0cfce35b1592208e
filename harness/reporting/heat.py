"""A benchmark's parts as a heat map: what each checkpoint gained or lost in each, against the baseline."""

from dataclasses import dataclass

from harness.comparing.side_by_side import LEVEL
from harness.findings import Breakdown, Part, Row
from harness.reporting.numbers import NONE, count, interval, number, p_value, signed

SHADES = 4  # on either side of none
FULL = 10.0  # points at which a shade is full, at least, so that small differences look small


@dataclass(frozen=True)
class Patch:
    """One cell.

    Attributes:
        text: The difference, with a star where it is certain; the estimate where nothing is compared.
        shade: -4 (much worse) to 4 (much better).
        about: The whole number in words.
        checkpoint: Whose.
    """

    text: str
    shade: int
    about: str
    checkpoint: str


@dataclass(frozen=True)
class Band:
    """One part of the benchmark.

    Attributes:
        name: As a reader sees it.
        key: As the items have it.
        kind: "all", "mean", "group" or "subject".
        n: Items.
        base: The baseline's estimate.
        patches: Of the checkpoints.
    """

    name: str
    key: str
    kind: str
    n: str
    base: str
    patches: list[Patch]


@dataclass(frozen=True)
class Heat:
    """The map.

    Attributes:
        title: What it shows.
        baseline: Name of the checkpoint compared with; "" where nothing is compared.
        checkpoints: Titles of the columns.
        bands: Rows.
        notes: What belongs below.
        dataset: Label of the benchmark's data.
    """

    title: str
    baseline: str
    checkpoints: list[str]
    bands: list[Band]
    notes: list[str]
    dataset: str


def heat_of(shown: Breakdown) -> Heat:
    """The map of one benchmark."""
    parts = [part for part in shown.parts if part.kind != "drawn"]
    rows = [row for part in parts for row in part.rows]
    compared = any(row.comparison for row in rows)
    digits = shown.decimals
    full = max([FULL if digits == 1 else 0.0, *(abs(r.comparison.difference) for r in rows if r.comparison)])
    names = [row.summary.checkpoint for row in parts[0].rows]
    columns = [name for name in names if not compared or name != shown.baseline]
    several = sum(part.kind == "subject" for part in parts)
    return Heat(
        title=f"{shown.name}: {f'difference to {shown.baseline}' if compared else 'estimates'} by {shown.field}",
        baseline=shown.baseline if compared else "",
        checkpoints=columns,
        bands=[_band(part, shown.baseline if compared else None, digits, full) for part in parts],
        notes=[*_legend(compared, several), *_drawn(shown, digits), *_unlike(shown)],
        dataset=shown.dataset,
    )


def _band(part: Part, baseline: str | None, digits: int, full: float) -> Band:
    base = next((row.summary.estimate for row in part.rows if row.summary.checkpoint == baseline), None)
    return Band(
        name=part.name.replace("_", " "),
        key=part.name,
        kind=part.kind,
        n=count(max((row.summary.n_scored for row in part.rows), default=0)),
        base=number(base, digits),
        patches=[_patch(row, digits, full) for row in part.rows if row.summary.checkpoint != baseline],
    )


def _patch(row: Row, digits: int, full: float) -> Patch:
    s, c = row.summary, row.comparison
    estimate = f"{s.checkpoint} {number(s.estimate, digits)} ({interval(s.low, s.high, digits)})"
    if c is None:
        return Patch(number(s.estimate, digits) or NONE, 0, estimate, s.checkpoint)
    star = "*" if c.p_adjusted < LEVEL else ""
    gain = c.difference if s.higher_is_better else -c.difference
    about = (
        f"{estimate}; minus {c.baseline} {signed(c.difference, digits)} "
        f"({interval(c.low, c.high, digits, sign=True)}), p adjusted {p_value(c.p_adjusted)}"
    )
    return Patch(f"{signed(c.difference, digits)}{star}", shade(gain, full), about, s.checkpoint)


def shade(gain: float, full: float) -> int:
    """The nearest of the shades; none only where there is nothing."""
    if not gain or not full:
        return 0
    steps = max(1, round(SHADES * min(1.0, abs(gain) / full)))
    return steps if gain > 0 else -steps


def _legend(compared: bool, subjects: int) -> list[str]:
    if not compared:
        return []
    over = f" over {subjects} subjects" if subjects else ""
    return [
        "Blue is better than the baseline, orange worse; a deeper shade is a larger difference. "
        f"* adjusted p < .05 (Benjamini-Hochberg{over}). A number leads to its items."
    ]


def _drawn(shown: Breakdown, digits: int) -> list[str]:
    """The mean of subjects for readers to whom these subjects stand for others."""
    rows = [row for part in shown.of_kind("drawn") for row in part.rows]
    said = [
        f"{row.summary.checkpoint} {signed(row.comparison.difference, digits)} "
        f"({interval(row.comparison.low, row.comparison.high, digits, sign=True)})"
        for row in rows
        if row.comparison
    ]
    return [f"Mean with the subjects as a sample of more: {', '.join(said)}."] if said else []


def _unlike(shown: Breakdown) -> list[str]:
    if not shown.unlike_published:
        return []
    return [f"Not to be compared with published numbers: {'; '.join(shown.unlike_published)}."]
