"""Two checkpoints on the same items: tests of no difference, and the difference that could be seen."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.stats.intervals import Floats, normal_quantile, t_quantile

AT_ONCE = 2_000_000  # signs held at a time, 8 bytes each
MANY = 10_000  # items from which on an estimated standard error takes less than one in a thousand more


def sign_flip_p(
    differences: Floats, *, clusters: NDArray[Any] | None = None, resamples: int = 10_000, seed: int = 0
) -> float:
    """Two-sided p of the sign-flip permutation test of one mean difference of zero; see `sign_flip_ps`.

    Args:
        differences: (n,) one checkpoint's score minus the other's, item by item.
        clusters: (n,) which items belong together.
        resamples: R.
        seed: Of the signs.
    """
    return sign_flip_ps(differences[:, None], clusters=clusters, resamples=resamples, seed=seed)[0]


def sign_flip_ps(
    differences: Floats, *, clusters: NDArray[Any] | None = None, resamples: int = 10_000, seed: int = 0
) -> list[float]:
    """Two-sided p of the sign-flip permutation test of a mean difference of zero, for several comparisons at once.

    p = (1 + #{|mean(e d)| >= |mean(d)|}) / (1 + R) over R draws of random signs e; all 2^n sign vectors,
    without the ones, when they are fewer. Exact when the two checkpoints are exchangeable on every item,
    for scores of any kind (Good 2005, "Permutation, Parametric and Bootstrap Tests", ch. 3). Where items come in
    clusters the checkpoints are exchanged on whole clusters, so that nothing is assumed of what is within one.
    An item has the same sign in every comparison, and no comparison changes the p of another.

    Args:
        differences: (n, k) of k comparisons one checkpoint's score minus the other's, item by item; NaN where a
            comparison lacks the item.
        clusters: (n,) which items belong together, such as those of one subject; each for itself when None.
        resamples: R.
        seed: Of the signs.

    Returns:
        One p for each comparison; 1 where nothing differs.
    """
    there = np.nan_to_num(differences, nan=0.0)
    units = there if clusters is None else _cluster_sums(there, clusters)  # what a sign is drawn for
    # Sums that are equal but for rounding, which grows with what is summed, count as equal.
    observed = np.abs(units.sum(axis=0)) - 1e-12 * np.abs(there).sum(axis=0)
    moved = (units != 0).sum(axis=0)  # a zero stays zero under either sign
    few = moved <= math.log2(resamples)
    ps = np.ones(units.shape[1])
    for column in np.flatnonzero(few):
        own = units[units[:, column] != 0, column]
        ps[column] = (np.abs(_every_flip(own)) >= observed[column]).mean()
    if not few.all():
        as_large = _as_large(units[:, ~few], observed[~few], resamples, np.random.default_rng(seed))
        ps[~few] = (1 + as_large) / (1 + resamples)
    return [float(p) for p in ps]


def _cluster_sums(values: Floats, clusters: NDArray[Any]) -> Floats:
    """(clusters, k) sums of (n, k) values."""
    _, places = np.unique(clusters, return_inverse=True)
    sums = [np.bincount(places, weights=column) for column in values.T]
    return np.column_stack(sums)


def _every_flip(values: Floats) -> Floats:
    """The sum of n values under each of the 2^n sign vectors; of no values the one empty sum."""
    n = len(values)
    signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)  # (2^n, n)
    sums: Floats = signs @ values
    return sums


def _as_large(units: Floats, observed: Floats, resamples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How many of the draws of signs give each comparison a sum at least as large as what was observed: (k,)."""
    n, k = units.shape
    total, twice = units.sum(axis=0), 2 * units
    found = np.zeros(k, dtype=np.int64)
    width = -(-n // 8)  # one bit for each sign
    rows = max(1, AT_ONCE // n)
    for done in range(0, resamples, rows):
        draws = min(rows, resamples - done)
        packed = np.frombuffer(rng.bytes(draws * width), dtype=np.uint8).reshape(draws, width)
        flipped = np.unpackbits(packed, axis=1, count=n).astype(np.float64)  # (draws, n)
        found += (np.abs(total - flipped @ twice) >= observed).sum(axis=0)
    return found


def mcnemar_p(better: int, worse: int) -> float:
    """Two-sided p of McNemar's exact test: the items on which only one of the two is right, as coin flips.

    McNemar 1947, Psychometrika 12:153; exact binomial form.

    Args:
        better: Items only the first got right.
        worse: Items only the second got right.
    """
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(better, worse), better + worse, 0.5)))


def items_needed(sd: float, difference: float, *, power: float = 0.8, level: float = 0.05) -> int:
    """Items on which a true difference is seen with probability `power`.

    (z_{1-level/2} + z_power)^2 sd^2 / difference^2 (Miller 2024, arXiv:2411.00640, section 5), and as many more as
    `detectable_by_flips` takes for the standard error being estimated, about two; these are not counted from `MANY` on.

    Args:
        sd: Standard deviation of the differences item by item.
        difference: What is to be seen, above 0, in the same unit.
        power: Probability of seeing it.
        level: Of the two-sided test.
    """
    needed = max(2, math.ceil((detectable(sd, power=power, level=level) / difference) ** 2 - 1e-9))
    seen = difference * (1 + 1e-9)
    while needed < MANY and detectable_by_flips(sd / math.sqrt(needed), needed, power=power, level=level) > seen:
        needed += 1
    return needed


def detectable_by_flips(se: float, n: int, *, power: float = 0.8, level: float = 0.05) -> float:
    """The true difference that flipping the signs of n differences would have seen with probability `power`.

    As t would have (`detectable`), which it follows from 7 on (simulated; see the tests). As long as p falls to
    `level` only if all signs are the same, each has to be so with probability power^(1/n).

    Args:
        se: Standard error of the mean difference.
        n: How many signs are flipped: of items, or of clusters.
        power: Probability of seeing it.
        level: Of the two-sided test.

    Returns:
        Infinite where no difference would have been seen: of 5 differences p is at least 2 / 2^5.
    """
    if 2.0 ** (1 - n) > level:
        return math.inf
    by_t = detectable(se, n - 1.0, power=power, level=level)
    if 2.0 ** (2 - n) <= level:
        return by_t
    return max(by_t, math.sqrt(n) * normal_quantile(power ** (1 / n)) * se)


def detectable(se: float, df: float = math.inf, *, power: float = 0.8, level: float = 0.05) -> float:
    """The true difference that a t test at `level` would have seen with probability `power`.

    The d for which Student's noncentral t around d / se exceeds t_{1-level/2} with that probability (Cohen 1988,
    "Statistical Power Analysis", 2.2); with many degrees of freedom (z_{1-level/2} + z_power) se, 2.80 standard errors
    (Miller 2024, arXiv:2411.00640, section 5).

    Args:
        se: Standard error of the difference.
        df: Degrees of freedom of it.
        power: Probability of seeing it.
        level: Of the two-sided test.
    """
    from scipy.special import nctdtrinc

    if math.isinf(se) or math.isinf(df):
        return (normal_quantile(1 - level / 2) + normal_quantile(power)) * se
    return float(nctdtrinc(df, 1 - power, t_quantile(1 - level / 2, df))) * se
