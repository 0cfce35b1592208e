"""Scores with the items that occur in training data, and without them."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from harness.comparing.scores import Family, Scores
from harness.comparing.side_by_side import FEW, drawn_clusters, summarise
from harness.overlap.findings import WithAndWithout
from harness.stats.intervals import t_interval


def with_and_without(
    family: Family, dirty: Collection[str], names: Mapping[str, str], baseline: str = ""
) -> list[WithAndWithout]:
    """A line for each checkpoint that has a number.

    Args:
        family: A table.
        dirty: Items to leave out.
        names: Of checkpoints, by slug.
        baseline: Slug of the one that differences are to; "" for none.
    """
    clean = [_only_clean(scores, dirty) for scores in family.scores]
    base = next((own for own in clean if own.checkpoint.slug == baseline), None)
    lines = []
    for whole, own in zip(family.scores, clean, strict=True):
        name = names.get(whole.checkpoint.slug, whole.checkpoint.name)
        on_all, on_clean = summarise(whole, family, name), summarise(own, family, name)
        if whole.anchor or on_all.estimate is None:
            continue
        line = WithAndWithout(
            checkpoint=name,
            n=on_all.n_scored,
            all_items=on_all.estimate,
            n_clean=on_clean.n_scored,
            clean=on_clean.estimate,
            low=on_clean.low,
            high=on_clean.high,
        )
        against = {} if base is None or own is base else _difference(own, base, family)
        lines.append(line.model_copy(update=against))
    return lines


def _only_clean(scores: Scores, dirty: Collection[str]) -> Scores:
    return replace(
        scores,
        values={item: value for item, value in scores.values.items() if item not in dirty},
        parts={item: part for item, part in scores.parts.items() if item not in dirty},
        seeds=[_only_clean(seed, dirty) for seed in scores.seeds],
        unscored=Counter(),  # of these only the number is known, not whether they are clean
    )


def _difference(own: Scores, base: Scores, family: Family) -> dict[str, float]:
    """The mean paired difference with Student's interval; nothing where items do not stand for themselves.

    In clusters, and of recipes and metrics over all items, the comparison itself has the right interval.
    """
    shared = [item for item in own.values if item in base.values]
    if len(shared) < FEW or family.aggregation or drawn_clusters(family) or own.seeds or base.seeds:
        return {}
    mean = t_interval(np.array([own.values[item] - base.values[item] for item in shared]))
    return {"difference": mean.estimate, "difference_low": mean.low, "difference_high": mean.high}
