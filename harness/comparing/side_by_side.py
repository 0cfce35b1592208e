"""One checkpoint's number with its interval, and checkpoints two by two on the items they share."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.comparing.corpus import corpus_comparison, corpus_summary
from harness.comparing.matrix import Codes
from harness.comparing.missing import MISSING, difference_bounds, missing_share, refused
from harness.comparing.recipes import recipe_comparison, recipe_summary
from harness.comparing.scores import EVEN, Family, Scores
from harness.comparing.terms import PLAIN, Terms
from harness.records import Clustered, Comparison, Summary
from harness.stats.bootstrap import bootstrap_means
from harness.stats.clustered import ENOUGH_FOR_T, clustered_interval, clustered_p, clustered_se
from harness.stats.equivalence import equivalence_p, outside_p
from harness.stats.intervals import (
    Floats,
    Interval,
    alike,
    constant_interval,
    normal_quantile,
    t_interval,
    wilson_interval,
)
from harness.stats.multiplicity import holm
from harness.stats.paired import detectable, detectable_by_flips, mcnemar_p, sign_flip_ps

LEVEL = 0.05
FEW = 2  # fewer shared items than this say nothing about a difference
FEW_CLUSTERS = 6  # flips of fewer whole clusters can never fall below .05 (2 / 2**5)
ENOUGH_CLUSTERS = 12  # so that flips of whole clusters can fall far below .05 (2 / 2**12), whatever p is adjusted for

UNKNOWN = (-math.inf, math.inf)  # a scale that nobody knows: what does not vary may be off by anything

Pair = tuple[Scores, Scores]


def summarise(scores: Scores, family: Family, name: str) -> Summary:
    """Mean and 95 % interval: Wilson's where every item is right or wrong, else Student's t.

    Where all scores are the same, the rule of three stands in for t. Items drawn in clusters have the clustered
    interval, recipes the spread of their seeds in theirs, and metrics over all items one by bootstrap.
    """
    values = np.array(list(scores.values.values()))
    summary = Summary(
        checkpoint=name,
        metric=family.metric,
        estimate=None,
        n_scored=len(values) or len(scores.parts),
        n_unscored=dict(scores.unscored),
        higher_is_better=family.higher_is_better,
        chance=scores.chance,
        seeds=len(scores.seeds) or None,
    )
    if not summary.n_scored:
        return summary
    if scores.anchor:
        return summary.model_copy(update={"estimate": EVEN})
    if family.aggregation:
        return corpus_summary(scores, family, summary)
    interval = recipe_summary(scores, family) if len(scores.seeds) > 1 else _interval(scores, values, family)
    lowest, highest = family.scale or UNKNOWN
    low, high = max(interval.low, lowest), min(interval.high, highest)
    known = {"low": low, "high": high} if math.isfinite(high - low) else {}
    bounds = _bounds(values, scores, family)
    return summary.model_copy(update={"estimate": interval.estimate, "bounds": bounds, **known})


def _interval(scores: Scores, values: Floats, family: Family) -> Interval:
    if drawn_clusters(family):
        column = family.matrix.column(scores)
        clusters = family.matrix.clusters[~np.isnan(column)]
        values = column[~np.isnan(column)]
        if family.scale and alike(values):
            return constant_interval(float(values[0]), len(np.unique(clusters)), family.scale)
        return clustered_interval(values, clusters)
    if family.binary:
        share = wilson_interval(int((values > 0).sum()), len(values))
        return Interval(100 * share.estimate, 100 * share.low, 100 * share.high)
    if len(values) > 1 and alike(values):
        return constant_interval(float(values[0]), len(values), family.scale or UNKNOWN)
    return t_interval(values)


def drawn_clusters(family: Family) -> bool:
    """Whether items come in clusters of which others might have been drawn, so that no item stands for itself."""
    return not family.fixed and bool(family.clusters)


def _bounds(values: Floats, scores: Scores, family: Family) -> tuple[float, float] | None:
    """The mean, had every unscored item been worst, or best."""
    missing = sum(scores.unscored.values())
    if not missing or family.scale is None:
        return None
    total, n = float(values.sum()), len(values) + missing
    return (total + missing * family.scale[0]) / n, (total + missing * family.scale[1]) / n


def comparisons_of(
    pairs: Sequence[Pair], family: Family, names: Mapping[str, str], terms: Terms = PLAIN
) -> list[Comparison | None]:
    """Each first against its second, on the items both have; None where these are too few. No verdicts yet.

    Args:
        pairs: Of the family.
        family: Whose values they are.
        names: What to call them, by slug.
        terms: What they are compared under.
    """
    if family.aggregation:
        made = [corpus_comparison(one, other, family, names, terms) for one, other in pairs]
    else:
        made = _of_means(pairs, family, names, terms)
    return [c and _with_missing(c, *pair, family, terms) for c, pair in zip(made, pairs, strict=True)]


def _with_missing(made: Comparison, one: Scores, other: Scores, family: Family, terms: Terms) -> Comparison:
    share = missing_share(one, other)
    if share == 0:
        return made
    verdict = f"{share:.0%} {MISSING}" if refused(share, terms) else ""
    return made.model_copy(
        update={"missing": share, "bounds": difference_bounds(one, other, family), "verdict": verdict}
    )


def _of_means(pairs: Sequence[Pair], family: Family, names: Mapping[str, str], terms: Terms) -> list[Comparison | None]:
    """All at once, so that items have the same signs and are drawn together in each of the comparisons."""
    matrix = family.matrix
    differences = [matrix.column(one) - matrix.column(other) for one, other in pairs]
    d = np.column_stack(differences) if pairs else np.empty((0, 0))
    enough = (~np.isnan(d)).sum(axis=0) >= FEW
    plain = [n for n, (one, other) in enumerate(pairs) if enough[n] and not _seeds(one, other)]
    clusters = matrix.clusters
    drawn = clusters if drawn_clusters(family) else None
    ps = {} if family.binary or not plain else dict(zip(plain, sign_flip_ps(d[:, plain]), strict=True))
    checks = bootstrap_means(d[:, plain], clusters=drawn, resamples=terms.draws) if terms.draws and plain else []
    by_draws = dict(zip(plain, checks, strict=False))
    made: list[Comparison | None] = []
    for n, (one, other) in enumerate(pairs):
        if not enough[n]:
            made.append(None)
        elif _seeds(one, other):
            plain_one = _plain(d[:, n], one, other, family, names, terms)
            found = recipe_comparison(one, other, plain_one, terms)
            made.append(_in_clusters(found, d[:, n], clusters, family, terms))
        else:
            found = _plain(d[:, n], one, other, family, names, terms, p=ps.get(n))
            found = _in_clusters(found, d[:, n], clusters, family, terms)
            ends = by_draws.get(n) if found.sd else None  # draws of what does not vary tell nothing
            made.append(found.model_copy(update={"bootstrap": (ends.low, ends.high)}) if ends else found)
    return made


def _seeds(one: Scores, other: Scores) -> bool:
    return len(one.seeds) > 1 or len(other.seeds) > 1


def _plain(
    column: Floats,
    one: Scores,
    other: Scores,
    family: Family,
    names: Mapping[str, str],
    terms: Terms,
    *,
    p: float | None = None,
) -> Comparison:
    """Item by item, as if items stood for themselves; `p` of McNemar's test where none is given."""
    d = column[~np.isnan(column)]
    better, worse = (int((d > 0).sum()), int((d < 0).sum()))
    if not family.higher_is_better:
        better, worse = worse, better
    p = mcnemar_p(better, worse) if p is None else p
    mean = _difference(d, family, p)
    se = _stand_in(mean) if alike(d) else float(d.std(ddof=1)) / math.sqrt(len(d))
    return Comparison(
        checkpoint=names[one.checkpoint.slug],
        baseline=names[other.checkpoint.slug],
        metric=family.metric,
        n=len(d),
        difference=mean.estimate,
        low=mean.low,
        high=mean.high,
        p=p,
        p_adjusted=p,
        better=better,
        worse=worse,
        same=len(d) - better - worse,
        detectable=detectable_by_flips(se, len(d)),
        verdict="",
        sd=float(d.std(ddof=1)),
        margin=terms.margin,
        p_same=None if terms.margin is None else equivalence_p(d, terms.margin, width=_width(family)),
    )


def _in_clusters(made: Comparison, column: Floats, everywhere: Codes, family: Family, terms: Terms) -> Comparison:
    """With its items in clusters.

    Where these are all there are (a benchmark's subjects), what is said of the items stands, but the larger of both p
    counts; too few of them to ever reach .05 are passed over. Where they are drawn, they alone count.
    """
    there = ~np.isnan(column)
    d, clusters = column[there], everywhere[there]
    if not family.clusters or not (d != 0).any():
        return made
    se, g = clustered_se(d, clusters)
    if family.fixed and g < ENOUGH_CLUSTERS:
        return made
    p = clustered_p(d, clusters)
    interval = _constant(d, g, family, p) if alike(d) and _width(family) else clustered_interval(d, clusters)
    told = made.model_copy(update={"clustered": Clustered(clusters=g, low=interval.low, high=interval.high, p=p)})
    same = made.p_same
    if same is not None and terms.margin is not None:
        same = max(same, outside_p(made.difference, se, max(g - 1, 1), terms.margin))
    told_by = _stand_in(interval) if alike(d) else se
    missed = detectable(told_by, g - 1.0) if g >= ENOUGH_FOR_T else detectable_by_flips(told_by, g)
    if family.fixed:
        larger = {"p": max(made.p, p), "p_adjusted": max(made.p, p), "detectable": max(made.detectable, missed)}
        sd = made.sd and max(made.sd, se * math.sqrt(made.n))  # items alike within clusters tell less, each
        return told.model_copy(update={"p_same": same, "sd": sd, **larger})
    spread = {"low": interval.low, "high": interval.high, "detectable": missed, "sd": None}
    return told.model_copy(update={"p": p, "p_adjusted": p, "p_same": same, **spread})


def _stand_in(interval: Interval) -> float:
    """A standard error where nothing varies, so that any difference would be seen: its wider interval's."""
    return (interval.high - interval.low) / 2 / normal_quantile(0.975)


def _width(family: Family) -> float | None:
    """The largest difference there can be."""
    return family.scale[1] - family.scale[0] if family.scale else None


def _difference(d: Floats, family: Family, p: float) -> Interval:
    """The mean with its interval."""
    return _constant(d, len(d), family, p) if d[0] != 0 and alike(d) else t_interval(d)


def _constant(d: Floats, n: int, family: Family, p: float) -> Interval:
    """Where all differences are the same: t would know the mean exactly, and the rule of three does not.

    Where flipping signs says that it is not 0, the interval ends there: both say what is true of the same items.
    """
    width = _width(family)
    made = constant_interval(float(d[0]), n, UNKNOWN if width is None else (-width, width))
    if p >= LEVEL:
        return made
    return replace(made, low=max(made.low, 0.0)) if d[0] > 0 else replace(made, high=min(made.high, 0.0))


def mirrored(made: Comparison) -> Comparison:
    """The same comparison from the other side."""
    c = made.clustered
    return made.model_copy(
        update={
            "checkpoint": made.baseline,
            "baseline": made.checkpoint,
            "difference": -made.difference,
            "low": -made.high,
            "high": -made.low,
            "better": made.worse,
            "worse": made.better,
            "clustered": c and c.model_copy(update={"low": -c.high, "high": -c.low}),
            "bounds": made.bounds and (-made.bounds[1], -made.bounds[0]),
            "bootstrap": made.bootstrap and (-made.bootstrap[1], -made.bootstrap[0]),
            "seeds": made.seeds and made.seeds[::-1],
        }
    )


def adjusted(
    comparisons: Sequence[Comparison | None],
    family: Family,
    adjust: Callable[[Sequence[float]], list[float]] = holm,
) -> list[Comparison | None]:
    """With p adjusted over those shown, and the verdict that follows."""
    there = [c for c in comparisons if c is not None]
    now = iter(adjust([c.p for c in there]))
    same = iter(adjust([c.p_same for c in there if c.p_same is not None]))
    told = [c if c is None or c.p_same is None else c.model_copy(update={"p_same": next(same)}) for c in comparisons]
    return [None if c is None else _judged(c, next(now), family) for c in told]


def _judged(comparison: Comparison, p_adjusted: float, family: Family) -> Comparison:
    """With the verdict in words; answers that are even in every pair need not be identical."""
    if comparison.verdict:  # too much is missing
        return comparison.model_copy(update={"p_adjusted": p_adjusted})
    if comparison.same == comparison.n and family.kind != "preference":
        words = "identical"
    elif p_adjusted >= LEVEL and comparison.p_same is not None and comparison.p_same < LEVEL:
        words = f"same within {comparison.margin:g}"
    elif p_adjusted >= LEVEL:
        words = "can't tell"
    else:
        words = "better" if (comparison.difference > 0) == family.higher_is_better else "worse"
    return comparison.model_copy(update={"p_adjusted": p_adjusted, "verdict": words})
