"""Three lines for one number: by the judge, by people, and by the judge corrected by people."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.opinions.findings import Headline, Line
from harness.stats.intervals import Floats, Interval, constant_interval, t_interval
from harness.stats.ppi import ppi_mean

FEWEST = 2  # labels, for an interval
ENOUGH_TO_LEAD = 20  # labels below which the judge stays the headline
ENOUGH_TO_CORRECT = 30  # labels below which a correction is no headline

Values = Mapping[str, float]
Scale = tuple[float, float]


@dataclass(frozen=True)
class Design:
    """How items were drawn.

    Attributes:
        strata: Of every item that could be drawn, numbered so that neighbours are alike.
        drawn: Those that were to be labelled.
    """

    strata: Mapping[str, int] = field(default_factory=dict)
    drawn: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Lines:
    """What people's labels say, beside the judge's line; the fields of `Opinion` of the same names."""

    people: Line | None = None
    corrected: Line | None = None
    r: float | None = None
    weight: float | None = None
    headline: Headline = "judge"
    items: int = 0


def lines_of(judge: Values, people: Values, design: Design, scale: Scale) -> Lines:
    """The lines beside the judge's own.

    Labels of items that were drawn at random count as they were drawn, and correct the judge. Where there are fewer
    than two of these, the others' plain mean is shown, and corrects nothing.

    Args:
        judge: By item.
        people: By item, on the judge's scale.
        design: How the items were drawn.
        scale: Lowest and highest value.
    """
    random = [item for item in people if item in design.drawn]
    if len(random) < FEWEST:
        values = np.array([*people.values()])
        plain = _line(_plain(values, scale), scale, len(values)) if len(values) >= FEWEST else None
        return Lines(people=plain, items=len(random))
    alone = _alone(random, people, design, scale)
    both = [item for item in random if item in judge]
    if len(both) <= FEWEST:
        return Lines(people=alone, headline=headline_of(len(random), math.nan), items=len(random))
    labels, judged = _column(both, people), _column(both, judge)
    pool = [item for item in design.strata if item in judge]
    found = ppi_mean(
        labels,
        judged,
        _column(pool, judge),
        strata=_codes(both, design),
        everything_strata=_codes(pool, design),
    )
    if math.isnan(found.r):  # one of them never varies, so that nothing can be learnt from it
        return Lines(people=alone, headline=headline_of(len(random), found.r), items=len(random))
    corrected = _line(found, scale, found.n_effective)
    return Lines(alone, corrected, found.r, found.weight, headline_of(len(both), found.r), len(both))


def headline_of(n: int, r: float) -> Headline:
    """Which line to go by, where items were drawn at random.

    People alone from 20 labels on; the corrected one from 30 on, if judge and people are correlated by more than
    1 / sqrt(n - 2): below that a correction does not help ("No Free Lunch", 2025, arXiv:2505.20178).

    Args:
        n: Items labelled.
        r: Correlation of judge and people over them; NaN where there is none.
    """
    if n < ENOUGH_TO_LEAD:
        return "judge"
    return "corrected" if n >= ENOUGH_TO_CORRECT and r > 1 / math.sqrt(n - 2) else "people"


def judge_line(values: Values, scale: Scale) -> Line:
    """The judge's own, over all that it has a value for; at least two."""
    column = np.array([*values.values()])
    return _line(_plain(column, scale), scale, len(column))


def _alone(random: Sequence[str], people: Values, design: Design, scale: Scale) -> Line:
    """The mean of labels as they were drawn."""
    labels = _column(random, people)
    if (labels == labels[0]).all():
        return _line(_plain(labels, scale), scale, len(labels))
    pool = np.array([*design.strata.values()])
    found = ppi_mean(
        labels, labels, np.zeros(len(pool)), strata=_codes(random, design), everything_strata=pool, weight=0
    )
    return _line(found, scale, len(labels))


def _plain(values: Floats, scale: Scale) -> Interval:
    if (values == values[0]).all():
        return constant_interval(float(values[0]), len(values), scale)
    return t_interval(values)


def _line(interval: Interval, scale: Scale, n: float) -> Line:
    """No number lies outside of its scale."""
    low, estimate, high = (
        min(max(end, scale[0]), scale[1]) for end in (interval.low, interval.estimate, interval.high)
    )
    return Line(estimate=estimate, low=low, high=high, n=n)


def _column(items: Sequence[str], values: Values) -> Floats:
    return np.array([values[item] for item in items])


def _codes(items: Sequence[str], design: Design) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array([design.strata[item] for item in items], np.int64)
