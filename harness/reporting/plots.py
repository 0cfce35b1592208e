"""Interval plots: a dot and its whisker for every checkpoint, as places in percent of the drawing's width.

Only places are computed here; the page's template draws them, between a column of names and one of numbers.
Percent keep the text readable on any screen.
"""

import math
from dataclasses import dataclass

from harness.findings import Table
from harness.reporting.numbers import NONE, interval, number

ROW = 28  # pixels for a checkpoint; the style sheet gives names and numbers the same
FOOT = 22  # for the axis
MARGIN = 2.0  # percent on both sides, so that a dot at the end is whole


@dataclass(frozen=True)
class Dot:
    """One checkpoint.

    Attributes:
        name: Its name.
        label: Its number with the interval.
        y: Pixels from above to its whisker.
        x: Place of the estimate, in percent; None without one.
        low: Place of the interval's lower end; None where it is not known.
        high: Of its upper end.
        tone: "picked", "baseline" or "".
    """

    name: str
    label: str
    y: int
    x: float | None
    low: float | None
    high: float | None
    tone: str


@dataclass(frozen=True)
class Tick:
    """A number on an axis."""

    x: float
    label: str


@dataclass(frozen=True)
class Plot:
    """An interval plot.

    Attributes:
        title: What it shows.
        described: The same in words for those who do not see it.
        height: Pixels.
        axis: Pixels from above to the axis.
        dots: From above.
        ticks: Of the axis.
        baseline: Place of the baseline's estimate.
        chance: Place of what guessing gives; None where that is not known, or far off.
    """

    title: str
    described: str
    height: int
    axis: int
    dots: list[Dot]
    ticks: list[Tick]
    baseline: float | None
    chance: float | None


def interval_plot(table: Table, title: str, pick: str | None) -> Plot | None:
    """The plot of a table; None where nothing in it has a number.

    Args:
        table: The table.
        title: What to call it.
        pick: Name of the pick.
    """
    summaries = [row.summary for row in table.rows]
    chance = next((s.chance for s in summaries if s.chance is not None), None)
    ends = [v for s in summaries for v in (s.estimate, s.low, s.high)] + [chance]
    known = [v for v in ends if v is not None and math.isfinite(v)]
    if not any(s.estimate is not None and math.isfinite(s.estimate) for s in summaries):
        return None
    ticks = nice_ticks(min(known), max(known))
    digits = table.decimals
    low, high = min(ticks[0], *known), max(ticks[-1], *known)
    dots = []
    for n, s in enumerate(summaries):
        tone = "picked" if s.checkpoint == pick else "baseline" if s.checkpoint == table.baseline else ""
        ends_shown = interval(s.low, s.high, digits)
        label = number(s.estimate, digits) + (f" ({ends_shown})" if ends_shown != NONE else "")
        x, first, last = (place(v, low, high) for v in (s.estimate, s.low, s.high))
        dots.append(Dot(s.checkpoint, label, n * ROW + ROW // 2, x, first, last, tone))
    axis = len(dots) * ROW
    base = next((dot.x for dot in dots if dot.name == table.baseline), None)
    return Plot(
        title=title,
        described="; ".join(f"{dot.name} {dot.label}" for dot in dots),
        height=axis + FOOT,
        axis=axis,
        dots=dots,
        ticks=[Tick(place(tick, low, high) or 0.0, f"{tick:g}".replace("-", "−")) for tick in ticks],
        baseline=base,
        chance=place(chance, low, high),
    )


def place(value: float | None, low: float, high: float) -> float | None:
    """Where a value lies between two others, in percent of the width; None where there is none."""
    if value is None or not math.isfinite(value):
        return None
    share = 0.5 if high == low else (value - low) / (high - low)
    return round(MARGIN + share * (100 - 2 * MARGIN), 2)


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers around a range: steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(n * step, 10) for n in range(first, last + 1)]
