"""Items that one of two checkpoints has no value for: how many, whether they are more of one than of the other."""

from collections.abc import Iterator

from harness.comparing.scores import Family, Scores
from harness.comparing.terms import Terms
from harness.records import Comparison
from harness.stats.counts import fisher_p

WORTH_SAYING = 0.02  # of the items both were to have a value for
TOO_MANY = 0.10
LEVEL = 0.05
MISSING = "missing"  # ends the verdict of what cannot be told for want of values


def missing_share(one: Scores, other: Scores) -> float:
    """Of the items that both were to have a value for, those that not both have one for.

    Items that only one was asked (another limit) are not missing: nobody's answer decided that.
    """
    if not one.unscored and not other.unscored:
        return 0.0
    listed = one.listed & other.listed
    both = _known(one) & _known(other) & listed
    return (len(listed) - len(both)) / len(listed) if listed else 0.0


def _known(scores: Scores) -> set[str]:
    return {*scores.values, *scores.parts}


def refused(share: float, terms: Terms) -> bool:
    """Whether so much is missing that there can be no verdict."""
    return share > TOO_MANY and not terms.allow_missing


def difference_bounds(one: Scores, other: Scores, family: Family) -> tuple[float, float] | None:
    """The mean difference had every missing value been at the worst end, or the best; None where nothing is missing."""
    if family.scale is None or family.aggregation or missing_share(one, other) == 0:
        return None
    listed, (low, high) = one.listed & other.listed, family.scale
    least = sum(one.values.get(item, low) - other.values.get(item, high) for item in listed)
    most = sum(one.values.get(item, high) - other.values.get(item, low) for item in listed)
    return least / len(listed), most / len(listed)


def missing_warnings(one: Scores, other: Scores, made: Comparison, terms: Terms) -> Iterator[str]:
    """What a reader must know of the items that are missing, a sentence each."""
    names = f"{made.checkpoint} and {made.baseline}"
    if unlike := len(one.listed ^ other.listed):
        yield f"{names} were not asked the same: {unlike} items only one of them; compared on the {made.n} both have"
    if made.missing > WORTH_SAYING:
        verdict = "; no verdict from so few (--allow-missing gives one)" if refused(made.missing, terms) else ""
        yield f"{names}: {made.missing:.0%} of the items have no value in one of them{verdict}"
    p = _failing_alike(one, other)
    if p < LEVEL:
        between = f": the difference is between {made.bounds[0]:+.1f} and {made.bounds[1]:+.1f}" if made.bounds else ""
        yield f"{names}: not missing at random, one fails more often (Fisher p {p:.2g}){between}"


def _failing_alike(one: Scores, other: Scores) -> float:
    """Two-sided p that both fail equally often on what both were asked."""
    if not one.unscored and not other.unscored:
        return 1.0
    listed = one.listed & other.listed
    failed = [len(listed - _known(scores)) for scores in (one, other)]
    if failed[0] == failed[1]:
        return 1.0
    return fisher_p(failed[0], len(listed) - failed[0], failed[1], len(listed) - failed[1])
