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
