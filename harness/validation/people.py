"""How far a judge says what people say: agreement, order, and bias, with intervals over items."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.stats.agreement import (
    cohen_kappa,
    kendall_tau_b,
    krippendorff_alpha,
    raw_agreement,
    sensitivity,
    spearman,
    specificity,
)
from harness.stats.bootstrap import bootstrap_interval
from harness.stats.intervals import Floats
from harness.validation.labels import Scale
from harness.validation.matching import Matched, Rated
from harness.validation.results import Bias, DifferentialBias, Estimate, People

RESAMPLES = 1000
MOST_OWN = 11  # categories a scale may have that both use; wider ones are cut into parts
PARTS = 5


def compare_with_people(
    matched: Matched, *, pass_at: float | None = None, seed: int = 0, resamples: int = RESAMPLES
) -> People:
    """All of it.

    Several people's scores of one answer count as their mean, but for alpha, which takes each of them. Where judge
    and people share a scale of at most eleven whole numbers, agreement and kappa are counted in these; else both
    scales are cut into equal parts, as many as the coarser one has values and at most five. Intervals are percentile
    bootstrap intervals over items: answers of several checkpoints to one item are drawn together.

    Args:
        matched: Judge and people.
        pass_at: Score on the judge's scale from which on an answer passes; default: its middle.
        seed: Of the draws.
        resamples: Draws for each interval.

    Raises:
        HarnessError: If `pass_at` is not on the judge's scale.
    """
    low, high = matched.scale
    threshold = passing(pass_at, matched.scale)
    table = _Table(matched, seed, resamples)
    pass_unit = (threshold - low) / (high - low)
    passes, truly = table.judge >= pass_unit, table.people >= pass_unit
    said, meant = table.categories(table.judge), table.categories(table.people)
    points = (table.judge - table.people) * (high - low)
    return People(
        n=len(matched.rated),
        items=len(set(table.items)),
        labels=matched.labels,
        missing=dict(matched.missing),
        raters=table.raters,
        scales=list(matched.scales),
        parts=table.parts,
        same=table.interval(raw_agreement, said, meant),
        kappa=table.interval(lambda a, b: cohen_kappa(a, b, weights="quadratic"), said, meant),
        alpha=table.interval(_alpha, np.vstack([table.judge, table.by_rater])),
        spearman=table.interval(spearman, table.judge, table.people),
        kendall=table.interval(kendall_tau_b, table.judge, table.people),
        pass_at=threshold,
        sensitivity=table.interval(sensitivity, passes, truly),
        specificity=table.interval(specificity, passes, truly),
        bias=table.interval(_mean, points),
        by_checkpoint=_biases(table, points),
        differential=_differential(table, points),
        ceiling=table.interval(_alpha, table.by_rater) if len(table.raters) > 1 else None,
        ceiling_same=table.interval(_same_among, table.categories(table.by_rater)) if len(table.raters) > 1 else None,
    )


def passing(pass_at: float | None, scale: Scale) -> float:
    """The score from which on an answer passes; the middle of the scale where none is given.

    Raises:
        HarnessError: If it is not on the judge's scale.
    """
    low, high = scale
    threshold = (low + high) / 2 if pass_at is None else pass_at
    if not low <= threshold <= high:
        raise HarnessError(f"--pass-at: wanted a score of the judge's scale, {low:g} to {high:g}, found {threshold:g}")
    return threshold


class _Table:
    """The scores as arrays, one column for each answer."""

    def __init__(self, matched: Matched, seed: int, resamples: int) -> None:
        rated = matched.rated
        self._seed, self._resamples = seed, resamples
        self.raters = sorted({name for one in rated for name in one.people})
        self.items = np.array([f"{one.dataset}/{one.item_id}" for one in rated])
        self.checkpoints = np.array([one.checkpoint for one in rated])
        self.judge: Floats = np.array([one.judge for one in rated])
        self.by_rater = _by_rater(rated, self.raters)  # (raters, answers), NaN where somebody said nothing
        self.people: Floats = np.nanmean(self.by_rater, axis=0)
        self.parts, self._own = _parts(matched)

    def interval(self, statistic: Callable[..., float], *columns: NDArray[np.generic], level: float = 0.95) -> Estimate:
        """A statistic of some columns, with its interval over items."""
        found = bootstrap_interval(
            statistic, *columns, groups=self.items, resamples=self._resamples, seed=self._seed, level=level
        )
        return Estimate.of(found)

    def categories(self, values: Floats) -> Floats:
        """Categories of scores from 0 to 1: the scale's own numbers, else equal parts; NaN stays."""
        if self._own:
            return np.round(values * (self.parts - 1))
        return np.minimum(np.floor(values * self.parts + 1e-9), self.parts - 1)


def _by_rater(rated: Sequence[Rated], raters: Sequence[str]) -> Floats:
    return np.array([[one.people.get(name, np.nan) for one in rated] for name in raters])


def _parts(matched: Matched) -> tuple[int, bool]:
    """How many categories there are, and whether they are the numbers of a scale that both use."""
    spans = [high - low for low, high in (*matched.scales, matched.scale)]
    values = [int(span) + 1 for span in spans if span.is_integer()] if matched.whole else []
    if values and set(matched.scales) == {matched.scale} and values[0] <= MOST_OWN:
        return values[0], True
    return max(2, min([PARTS, *values])), False


def _alpha(ratings: Floats) -> float:
    return krippendorff_alpha(ratings, level="interval")


def _mean(values: Floats) -> float:
    return float(values.mean())


def _same_among(categories: Floats) -> float:
    """Share of pairs of people's labels of one answer that are in the same category."""
    one, other = np.hstack([categories[list(pair)] for pair in combinations(range(len(categories)), 2)])
    both = ~np.isnan(one) & ~np.isnan(other)
    return raw_agreement(one[both], other[both])


def _biases(table: _Table, points: Floats) -> list[Bias]:
    found = []
    for name in dict.fromkeys(table.checkpoints.tolist()):
        own = table.checkpoints == name
        bias = table.interval(_mean_of, points, own)
        found.append(Bias(checkpoint=name, n=int(own.sum()), bias=bias))
    return found


def _mean_of(points: Floats, own: NDArray[np.bool_]) -> float:
    return float(points[own].mean()) if own.any() else float("nan")


def _differential(table: _Table, points: Floats) -> DifferentialBias | None:
    """Between the two checkpoints whose biases differ most."""
    means = {name: _mean_of(points, table.checkpoints == name) for name in dict.fromkeys(table.checkpoints.tolist())}
    pairs = len(means) * (len(means) - 1) // 2
    if not pairs:
        return None
    one, other = max(means, key=lambda name: means[name]), min(means, key=lambda name: means[name])
    if one == other:  # all the same
        one, other = [*means][:2]

    def difference(points: Floats, of_one: NDArray[np.bool_], of_other: NDArray[np.bool_]) -> float:
        return _mean_of(points, of_one) - _mean_of(points, of_other)

    # The pair was chosen for its difference, so the interval covers all pairs (Bonferroni).
    found = table.interval(
        difference, points, table.checkpoints == one, table.checkpoints == other, level=1 - 0.05 / pairs
    )
    return DifferentialBias(one=one, other=other, difference=found, pairs=pairs)
