"""Tests of counts."""

import numpy as np


def fisher_p(a_failed: int, a_ok: int, b_failed: int, b_ok: int) -> float:
    """Two-sided p of Fisher's exact test that two shares of failures are the same (Fisher 1922, JRSS 85:87).

    Conditional on all four margins; conservative for few failures.

    Args:
        a_failed: Failures of the first.
        a_ok: What did not fail of the first.
        b_failed: Failures of the second.
        b_ok: What did not fail of the second.
    """
    if a_failed + b_failed == 0 or a_ok + b_ok == 0:
        return 1.0

    from scipy.stats import fisher_exact  # takes a second to import

    return float(fisher_exact(np.array([[a_failed, a_ok], [b_failed, b_ok]])).pvalue)


def sign_test_p(wins: int, losses: int) -> float:
    """Two-sided p of the exact sign test: wins and losses as flips of a fair coin; ties are left out beforehand.

    Dixon and Mood 1946, JASA 41:557. 1 when there is nothing to flip.

    Args:
        wins: How often the one.
        losses: How often the other.
    """
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(wins, losses), wins + losses, 0.5)))
