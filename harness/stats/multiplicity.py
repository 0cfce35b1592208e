"""Several comparisons shown together."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p that keep the chance of any false alarm among all comparisons at the level they are held to.

    Holm 1979, Scand. J. Statist. 6:65: the k-th smallest of m is multiplied by m - k + 1, never falls
    below the one before it, and stops at 1. In the order given.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = highest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p that keep the share of false alarms among all alarms, on average, below the level.

    Benjamini and Hochberg 1995, JRSS B 57:289: the k-th smallest of m is multiplied by m / k, never rises above
    the one after it, and stops at 1. In the order given. For tables of many parts, where Holm would see nothing.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__, reverse=True)
    adjusted = [0.0] * len(p_values)
    lowest = 1.0
    for place, index in enumerate(order):
        lowest = min(lowest, p_values[index] * len(p_values) / (len(p_values) - place))
        adjusted[index] = lowest
    return adjusted
