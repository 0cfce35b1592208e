"""Scores with the items that occur in training data, and without them."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from math import isfinite

from harness.comparing.scores import Family, Scores
from harness.comparing.side_by_side import comparisons_of, summarise
from harness.overlap.findings import WithAndWithout


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
    called = {s.checkpoint.slug: names.get(s.checkpoint.slug, s.checkpoint.name) for s in family.scores}
    rest = replace(family, scores=[_only_clean(scores, dirty) for scores in family.scores])
    differences = _differences(rest, baseline, called)
    lines = []
    for whole, own in zip(family.scores, rest.scores, strict=True):
        slug = own.checkpoint.slug
        on_all, on_clean = summarise(whole, family, called[slug]), summarise(own, rest, called[slug])
        if whole.anchor or on_all.estimate is None:
            continue
        line = WithAndWithout(
            checkpoint=called[slug],
            n=on_all.n_scored,
            all_items=on_all.estimate,
            n_clean=on_clean.n_scored,
            clean=on_clean.estimate,
            low=on_clean.low,
            high=on_clean.high,
        )
        lines.append(line.model_copy(update=differences.get(slug, {})))
    return lines


def _only_clean(scores: Scores, dirty: Collection[str]) -> Scores:
    return replace(
        scores,
        values={item: value for item, value in scores.values.items() if item not in dirty},
        parts={item: part for item, part in scores.parts.items() if item not in dirty},
        seeds=[_only_clean(seed, dirty) for seed in scores.seeds],
        unscored=Counter(),  # of these only the number is known, not whether they are clean
    )


def _differences(clean: Family, baseline: str, names: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """By slug, the paired difference to the baseline on the clean items, with its interval; none that is unknown."""
    base = next((s for s in clean.scores if s.checkpoint.slug == baseline), None)
    others = [s for s in clean.scores if base is not None and s is not base]
    made = comparisons_of([(own, base) for own in others if base], clean, names)
    return {
        own.checkpoint.slug: {"difference": c.difference, "difference_low": c.low, "difference_high": c.high}
        for own, c in zip(others, made, strict=True)
        if c is not None and isfinite(c.high - c.low)
    }
