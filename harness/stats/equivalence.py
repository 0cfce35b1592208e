"""Are two checkpoints the same, as far as anybody cares?"""

import math

from harness.stats.intervals import Floats, alike
from harness.stats.student import t_tail


def equivalence_p(differences: Floats, margin: float, *, width: float | None = None) -> float:
    """The p of a mean difference outside of ±margin: of two one-sided t tests the larger one.

    Below .05 exactly where the 90 % t interval lies inside ±margin (Schuirmann 1987, J. Pharmacokinet. Biopharm.
    15:657). Where all differences are the same, t would know the mean exactly; then at least a share u of other items
    would have to lie at the worst end for the mean to reach the margin, and p = (1 - u)^n is the chance that none of n
    is among them (the rule of three's argument, Hanley and Lippman-Hand 1983, JAMA 249:1743).

    Args:
        differences: (n,) one checkpoint's score minus the other's, item by item, n >= 2.
        margin: Above 0, in the unit of the differences.
        width: The largest difference there can be; None without bounds.
    """
    n, mean = len(differences), float(differences.mean())
    if abs(mean) >= margin:
        return 1.0
    if alike(differences):
        if width is None:
            return 1.0
        return (1 - min(1.0, (margin - abs(mean)) / (width + abs(mean)))) ** n
    return outside_p(mean, float(differences.std(ddof=1)) / math.sqrt(n), n - 1, margin)


def outside_p(estimate: float, se: float, df: float, margin: float) -> float:
    """The same p for any estimate with a standard error: the larger of two one-sided t tests.

    Args:
        estimate: Of the difference.
        se: Its standard error.
        df: Degrees of freedom of that.
        margin: Above 0, in the unit of the estimate.

    Returns:
        1 without a standard error, and where nothing varied: that tells nothing of what would.
    """
    if abs(estimate) >= margin or not 0 < se < math.inf:
        return 1.0
    return t_tail((margin - abs(estimate)) / se, df)
