"""A mean over groups of items, each group counting the same: these groups, or as a sample of more."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.stats.intervals import Floats
from harness.stats.student import StudentMean


@dataclass(frozen=True)
class StratifiedMean(StudentMean):
    """The mean of group means; its standard error is infinite where no group has two values.

    Attributes:
        n: How many values one plain sample of the same precision would have, were all groups equally spread.
    """

    n: float


def drawn_mean(strata: Sequence[Floats]) -> StratifiedMean:
    """The same mean as an estimate for all groups that these might have been drawn from.

    SE = sd(group means) / sqrt(K) with K - 1 degrees of freedom: what the groups differ in counts, and so does how
    few they are (the clustered standard error of Miller 2024, arXiv:2411.00640, 2.2, for groups that weigh the same).

    Args:
        strata: As for `stratified_mean`; one group alone tells nothing of others.
    """
    means = np.array([values.mean() for values in strata])
    k = len(means)
    se = float(means.std(ddof=1)) / math.sqrt(k) if k > 1 else math.inf
    return StratifiedMean(float(means.mean()), se, max(k - 1.0, 1.0), float(k))


def stratified_mean(strata: Sequence[Floats]) -> StratifiedMean:
    """The mean of the groups' means, for these groups and no others: what varies is which items are in them.

    sum_k w_k mean_k with w_k = 1/K, SE^2 = sum_k w_k^2 var_k / n_k, and Satterthwaite's degrees of freedom
    (sum_k v_k)^2 / sum_k v_k^2 / (n_k - 1) for v_k = w_k^2 var_k / n_k (Cochran 1977, "Sampling Techniques", 3rd ed.,
    5.3, 5.4 and formula 5.16). A group of one value, which has no variance of its own, is given the variance within the
    others taken together.

    Args:
        strata: The values of each group, none of them empty. Of a difference: the differences item by item.
    """
    k = len(strata)
    sizes = np.array([len(values) for values in strata], dtype=np.float64)
    estimate = float(np.mean([values.mean() for values in strata]))
    free = float((sizes - 1).sum())
    effective = float(k * k / (1 / sizes).sum())
    if free == 0:
        return StratifiedMean(estimate, math.inf, 1.0, effective)
    within = sum(float(((values - values.mean()) ** 2).sum()) for values in strata) / free
    variances = np.array([values.var(ddof=1) if len(values) > 1 else within for values in strata])
    parts = variances / sizes / (k * k)
    total = float(parts.sum())
    known = sizes > 1
    spread = float((parts[known] ** 2 / (sizes[known] - 1)).sum())
    df = total**2 / spread if spread else free
    return StratifiedMean(estimate, math.sqrt(total), df, effective)
