"""One checkpoint's number with its interval, and two checkpoints on the items they share."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from harness.comparing.scores import EVEN, Family, Scores
from harness.records import Comparison, Summary
from harness.stats.equivalence import equivalence_p
from harness.stats.intervals import Floats, Interval, constant_interval, t_interval, wilson_interval
from harness.stats.multiplicity import holm
from harness.stats.paired import detectable_difference, mcnemar_p, sign_flip_p

LEVEL = 0.05
FEW = 2  # fewer shared items than this say nothing about a difference


def summarise(scores: Scores, family: Family, name: str) -> Summary:
    """Mean and 95 % interval: Wilson's where every item is right or wrong, else Student's t.

    Where all scores are the same, the rule of three stands in for t.
    """
    values = np.array(list(scores.values.values()))
    summary = Summary(
        checkpoint=name,
        metric=family.metric,
        estimate=None,
        n_scored=len(values),
        n_unscored=dict(scores.unscored),
        higher_is_better=family.higher_is_better,
        chance=scores.chance,
    )
    if not len(values):
        return summary
    if scores.anchor:
        return summary.model_copy(update={"estimate": EVEN})
    if family.binary:
        share = wilson_interval(int((values > 0).sum()), len(values))
        ends = [100 * share.estimate, 100 * share.low, 100 * share.high]
    elif family.scale and (values == values[0]).all():
        alike = constant_interval(float(values[0]), len(values), family.scale)
        ends = [alike.estimate, alike.low, alike.high]
    else:
        mean = t_interval(values)
        lowest, highest = family.scale or (-math.inf, math.inf)
        ends = [mean.estimate, max(mean.low, lowest), min(mean.high, highest)]
    return summary.model_copy(
        update={"estimate": ends[0], "low": ends[1], "high": ends[2], "bounds": _bounds(values, scores, family)}
    )


def _bounds(values: Floats, scores: Scores, family: Family) -> tuple[float, float] | None:
    """The mean, had every unscored item been worst, or best."""
    missing = sum(scores.unscored.values())
    if not missing or family.scale is None:
        return None
    total, n = float(values.sum()), len(values) + missing
    return (total + missing * family.scale[0]) / n, (total + missing * family.scale[1]) / n


def comparison_of(
    scores: Scores, baseline: Scores, family: Family, names: Mapping[str, str], *, margin: float | None = None
) -> Comparison | None:
    """On the items both have; None when there are too few. Within the margin they count as the same."""
    shared = [item for item in scores.values if item in baseline.values]
    if len(shared) < FEW:
        return None
    d = np.array([scores.values[i] - baseline.values[i] for i in shared])
    better, worse = (int((d > 0).sum()), int((d < 0).sum()))
    if not family.higher_is_better:
        better, worse = worse, better
    mean = _difference(d, family)
    return Comparison(
        checkpoint=names[scores.checkpoint.slug],
        baseline=names[baseline.checkpoint.slug],
        metric=family.metric,
        n=len(shared),
        difference=mean.estimate,
        low=mean.low,
        high=mean.high,
        p=(p := mcnemar_p(better, worse) if family.binary else sign_flip_p(d)),
        p_adjusted=p,
        better=better,
        worse=worse,
        same=len(d) - better - worse,
        detectable=detectable_difference(d),
        verdict="",
        sd=float(d.std(ddof=1)),
        margin=margin,
        p_same=None if margin is None else equivalence_p(d, margin, width=_width(family)),
    )


def _width(family: Family) -> float | None:
    """The largest difference there can be."""
    return family.scale[1] - family.scale[0] if family.scale else None


def _difference(d: Floats, family: Family) -> Interval:
    """The mean; where all differences are the same, t would know it exactly, and the rule of three does not."""
    if family.scale and d[0] != 0 and (d == d[0]).all():
        width = family.scale[1] - family.scale[0]
        return constant_interval(float(d[0]), len(d), (-width, width))
    return t_interval(d)


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
    if comparison.same == comparison.n and family.kind != "preference":
        words = "identical"
    elif p_adjusted >= LEVEL and comparison.p_same is not None and comparison.p_same < LEVEL:
        words = f"same within {comparison.margin:g}"
    elif p_adjusted >= LEVEL:
        words = "can't tell"
    else:
        words = "better" if (comparison.difference > 0) == family.higher_is_better else "worse"
    return comparison.model_copy(update={"p_adjusted": p_adjusted, "verdict": words})
