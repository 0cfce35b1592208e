"""The interval of any number computed from items, by drawing the items again."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.stats.intervals import Interval


@dataclass(frozen=True)
class BootstrapInterval(Interval):
    """An estimate and its bootstrap interval.

    Attributes:
        undefined: Draws in which the statistic was not defined (a constant column, say). They are left out of the
            interval; many of them mean that it is not to be trusted.
    """

    undefined: int = 0


def bootstrap_interval(
    statistic: Callable[..., float],
    *columns: NDArray[Any],
    groups: NDArray[Any] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> BootstrapInterval:
    """Percentile bootstrap interval of a statistic of paired columns.

    Items are drawn with replacement, as many as there are, all columns together; the interval is the middle `level` of
    what the statistic then gives (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", ch. 13). Too narrow
    for very few items, and without width where all items are alike.

    Args:
        statistic: Of the columns, in the order given; NaN where it is not defined.
        columns: Arrays whose last axis is the items, in the same order.
        groups: (items,) which of them belong together, such as answers to one question: drawn or left out as one.
        resamples: Draws.
        seed: Of the draws.
        level: Coverage wanted.

    Returns:
        In the unit of the statistic. All NaN where it is not defined on the items themselves; without bounds for a
        single item or group.
    """
    n = columns[0].shape[-1]
    if any(column.shape[-1] != n for column in columns):
        raise ValueError(f"columns of the same number of items wanted, got {[c.shape[-1] for c in columns]}")
    estimate = float(statistic(*columns)) if n else math.nan
    if math.isnan(estimate):
        return BootstrapInterval(math.nan, math.nan, math.nan)
    members = _members(np.arange(n) if groups is None else groups)
    if len(members) == 1:
        return BootstrapInterval(estimate, -math.inf, math.inf)
    rng = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for number in range(resamples):
        picks = rng.integers(0, len(members), len(members))
        rows = picks if groups is None else np.concatenate([members[pick] for pick in picks])
        drawn[number] = statistic(*(column[..., rows] for column in columns))
    defined = drawn[~np.isnan(drawn)]
    if not len(defined):
        return BootstrapInterval(estimate, math.nan, math.nan, resamples)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return BootstrapInterval(estimate, float(low), float(high), resamples - len(defined))


def _members(groups: NDArray[Any]) -> list[NDArray[np.int64]]:
    """Places of the items of each group."""
    _, places = np.unique(groups, return_inverse=True)
    order = np.argsort(places, kind="stable")
    return np.split(order, np.bincount(places).cumsum()[:-1])
