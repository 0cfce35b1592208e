"""95 % intervals of one mean."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval, in the unit of the values."""

    estimate: float
    low: float
    high: float


def t_interval(values: Floats, *, confidence: float = 0.95) -> Interval:
    """Student's t interval of a mean: mean ± t_{n-1} sd / sqrt(n).

    The central limit standard error of Miller 2024 (arXiv:2411.00640), with t for small n (Bowyer,
    Aitchison and Ivanova 2025, arXiv:2503.01747).

    Args:
        values: (n,) scores, n >= 1. One value alone has an interval without bounds.
        confidence: Coverage wanted.
    """
    n = len(values)
    mean = float(values.mean())
    if n == 1:
        return Interval(mean, -math.inf, math.inf)
    half = t_quantile((1 + confidence) / 2, n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)


def wilson_interval(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927, JASA 22:209), in [0, 1].

    Args:
        successes: Items that are right.
        n: Items in all, at least 1.
        confidence: Coverage wanted.
    """
    z = normal_quantile((1 + confidence) / 2)
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At 0 and n the bounds are 0 and 1 exactly; rounding must not put the estimate outside.
    return Interval(share, 0.0 if successes == 0 else middle - half, 1.0 if successes == n else middle + half)


def alike(values: Floats) -> bool:
    """Whether all values are the same, but for rounding."""
    low, high = float(values.min()), float(values.max())
    return high - low <= 1e-9 * max(abs(low), abs(high))


def constant_interval(value: float, n: int, scale: tuple[float, float], *, confidence: float = 0.95) -> Interval:
    """An interval for a mean when all n scores are the same, where Student's t would claim to know it exactly.

    With n items alike, the share of items that differ is at most 1 - (1 - confidence)^(1/n), about 3 / n
    (Hanley and Lippman-Hand 1983, JAMA 249:1743, "the rule of three"); at worst these lie at an end of the scale.

    Args:
        value: The score they all have.
        n: Their number.
        scale: Lowest and highest score.
        confidence: Coverage wanted.
    """
    unseen = 1 - (1 - confidence) ** (1 / n)
    return Interval(value, value - unseen * (value - scale[0]), value + unseen * (scale[1] - value))


def t_quantile(p: float, df: float) -> float:
    """What Student's t is below with probability p."""
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    return float(stdtrit(df, p))


def normal_quantile(p: float) -> float:
    """What a standard normal number is below with probability p."""
    from scipy.special import ndtri

    return float(ndtri(p))
