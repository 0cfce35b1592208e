"""An estimate with a standard error of so many degrees of freedom: Student's interval and test of it."""

import math
from dataclasses import dataclass

from harness.stats.intervals import Interval, t_quantile


@dataclass(frozen=True)
class StudentMean:
    """A mean, or a difference of means, and how well it is known.

    Attributes:
        estimate: In the unit of the values.
        se: Its standard error; infinite where nothing tells it.
        df: Degrees of freedom of the standard error.
    """

    estimate: float
    se: float
    df: float

    def interval(self, *, confidence: float = 0.95) -> Interval:
        """Estimate ± t_df se."""
        half = t_quantile((1 + confidence) / 2, self.df) * self.se if self.se < math.inf else math.inf
        return Interval(self.estimate, self.estimate - half, self.estimate + half)

    @property
    def p(self) -> float:
        """Two-sided p of a mean of zero, by t; nan where nothing varies, so that t says nothing."""
        return 2 * t_tail(abs(self.estimate) / self.se, self.df) if self.se else math.nan


def t_tail(x: float, df: float) -> float:
    """Probability that Student's t is above x."""
    from scipy.special import stdtr

    return float(stdtr(df, -x))
