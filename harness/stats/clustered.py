"""A mean of items that come in clusters, such as the subjects of MMLU or the turns of a conversation."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.stats.intervals import Floats, Interval
from harness.stats.paired import sign_flip_p
from harness.stats.student import StudentMean

ENOUGH_FOR_T = 30  # with fewer clusters t trusts their standard error too much; whole clusters are flipped instead


def clustered_se(values: Floats, clusters: NDArray[Any]) -> tuple[float, int]:
    """Standard error of a mean over items of which those in one cluster need not be independent, and G.

    SE^2 = G / (G - 1) (1 / n^2) sum_c (sum_{i in c} (s_i - mean))^2 over G clusters: Miller 2024 (arXiv:2411.00640,
    2.2) with the factor for few clusters, CR1 (Cameron and Miller 2015, J. Human Resources 50:317), as Inspect has it.

    Args:
        values: (n,) scores or differences, n >= 1.
        clusters: (n,) the cluster of each, by any name or number.

    Returns:
        The standard error, infinite for a single cluster, and the number of clusters.
    """
    _, places = np.unique(clusters, return_inverse=True)
    sums = np.bincount(places, weights=values - values.mean())
    g = len(sums)
    se = math.sqrt(g / (g - 1) * float(sums @ sums)) / len(values) if g > 1 else math.inf
    return se, g


def clustered_interval(values: Floats, clusters: NDArray[Any], *, confidence: float = 0.95) -> Interval:
    """Interval of a mean over items in clusters: mean ± t_{G-1} SE, as `clustered_se` has it.

    Args:
        values: (n,) scores or differences, n >= 1.
        clusters: (n,) the cluster of each.
        confidence: Coverage wanted.

    Returns:
        Without bounds where there is one cluster only.
    """
    return _mean(values, clusters).interval(confidence=confidence)


def clustered_p(differences: Floats, clusters: NDArray[Any]) -> float:
    """Two-sided p of a mean difference of zero over items in clusters.

    By t_{G-1} on the clustered standard error; with fewer than 30 clusters by flipping the signs of whole clusters,
    which needs no standard error (`sign_flip_p`), and so too where the clusters do not vary at all.

    Args:
        differences: (n,) one checkpoint's score minus the other's, item by item, n >= 1.
        clusters: (n,) the cluster of each.

    Returns:
        1 for one cluster, which tells nothing of others.
    """
    mean = _mean(differences, clusters)
    if math.isinf(mean.se):
        return 1.0
    varies = mean.se > 1e-12 * float(np.abs(differences).max())  # more than rounding
    return mean.p if mean.df + 1 >= ENOUGH_FOR_T and varies else sign_flip_p(differences, clusters=clusters)


def _mean(values: Floats, clusters: NDArray[Any]) -> StudentMean:
    se, g = clustered_se(values, clusters)
    return StudentMean(float(values.mean()), se, g - 1.0)
