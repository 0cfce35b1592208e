"""Two checkpoints on the same items under a metric that is no mean of theirs: a test by swapping their answers."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def swap_p(
    difference: Callable[[NDArray[np.bool_]], float],
    n: int,
    *,
    groups: NDArray[Any] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> float:
    """Two-sided p of the approximate randomisation test that two checkpoints are the same.

    p = (1 + #{|difference with items swapped| >= |difference|}) / (1 + R) over R draws of which items are swapped, each
    with probability 1/2 (Noreen 1989, "Computer-Intensive Methods for Testing Hypotheses", ch. 2; for corpus metrics
    Riezler and Maxwell 2005, ACL workshop on evaluation measures). Of a mean it is the sign-flip test. Exact when
    the two are exchangeable on every item.

    Args:
        difference: The metric of the one minus that of the other once the items that are True have been swapped
            between them, from a (n,) mask; NaN where it is not defined, which counts as no difference.
        n: Items.
        groups: (n,) which items belong together and are swapped together.
        resamples: R.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    observed = abs(difference(np.zeros(n, dtype=bool)))
    if math.isnan(observed):
        return 1.0
    places = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(places.max()) + 1 if n else 0
    # Numbers that are equal but for rounding count as equal.
    least = observed - 1e-12 * max(1.0, observed)
    drawn = np.array([difference(rng.random(units)[places] < 0.5) for _ in range(resamples)])
    return float(1 + (np.abs(np.nan_to_num(drawn)) >= least).sum()) / (1 + resamples)
