"""Two checkpoints on the same items: tests of no difference, and the difference that could be seen."""

import math

import numpy as np

from harness.stats.intervals import Floats


def sign_flip_p(differences: Floats, *, resamples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p of the sign-flip permutation test of a mean difference of zero.

    p = (1 + #{|mean(e d)| >= |mean(d)|}) / (1 + R) over R draws of random signs e; all 2^n sign vectors,
    without the ones, when they are fewer. Exact when the two checkpoints are exchangeable on every item,
    for scores of any kind (Good 2005, "Permutation, Parametric and Bootstrap Tests", ch. 3).

    Args:
        differences: (n,) one checkpoint's score minus the other's, item by item.
        resamples: R.
        seed: Of the signs.
    """
    moved = differences[differences != 0]  # a zero stays zero under either sign
    n = len(moved)
    if n == 0:
        return 1.0
    # Sums that are equal but for rounding, which grows with what is summed, count as equal.
    observed = abs(float(moved.sum())) - 1e-12 * float(np.abs(moved).sum())
    if 2**n <= resamples:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)  # (2^n, n)
        return float((np.abs(signs @ moved) >= observed).mean())
    rng = np.random.default_rng(seed)
    as_large = done = 0
    while done < resamples:
        rows = min(resamples - done, max(1, 4_000_000 // n))  # a few tens of megabytes at a time
        signs = rng.integers(0, 2, size=(rows, n), dtype=np.int8) * 2.0 - 1.0
        as_large += int((np.abs(signs @ moved) >= observed).sum())
        done += rows
    return (1 + as_large) / (1 + resamples)


def mcnemar_p(better: int, worse: int) -> float:
    """Two-sided p of McNemar's exact test: the items on which only one of the two is right, as coin flips.

    McNemar 1947, Psychometrika 12:153; exact binomial form.

    Args:
        better: Items only the first got right.
        worse: Items only the second got right.
    """
    from scipy.stats import binomtest

    discordant = better + worse
    return 1.0 if discordant == 0 else float(binomtest(min(better, worse), discordant, 0.5).pvalue)


def detectable_difference(differences: Floats, *, power: float = 0.8, level: float = 0.05) -> float:
    """The true mean difference that a test on these items would have seen; see `detectable`.

    Args:
        differences: (n,) score differences item by item, n >= 2.
        power: Probability of seeing it.
        level: Of the two-sided test.
    """
    se = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return detectable(se, power=power, level=level)


def items_needed(sd: float, difference: float, *, power: float = 0.8, level: float = 0.05) -> int:
    """Items on which a true difference is seen with probability `power`.

    (z_{1-level/2} + z_power)^2 sd^2 / difference^2 (Miller 2024, arXiv:2411.00640, section 5).

    Args:
        sd: Standard deviation of the differences item by item.
        difference: What is to be seen, above 0, in the same unit.
        power: Probability of seeing it.
        level: Of the two-sided test.
    """
    return max(2, math.ceil((detectable(sd, power=power, level=level) / difference) ** 2 - 1e-9))


def detectable(se: float, *, power: float = 0.8, level: float = 0.05) -> float:
    """The true difference that a test at `level` would have seen with probability `power`.

    (z_{1-level/2} + z_power) se, 2.80 standard errors (Miller 2024, arXiv:2411.00640, section 5).

    Args:
        se: Standard error of the difference.
        power: Probability of seeing it.
        level: Of the two-sided test.
    """
    from scipy.stats import norm

    return float(norm.ppf(1 - level / 2) + norm.ppf(power)) * se
