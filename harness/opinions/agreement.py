"""How far a judge agrees with the labels of a run, for its card."""

import math

import numpy as np

from harness.cards.card import HumanAgreement
from harness.comparing.scores import EXPECTED, Family
from harness.opinions.said import Said, said_of
from harness.stats.agreement import spearman
from harness.stats.bootstrap import bootstrap_interval
from harness.store import Run

RESAMPLES = 1000


def agreement_with_labels(run: Run, family: Family) -> HumanAgreement | None:
    """Rank correlation of a judge's values with people's, over all answers (or pairs) that both rated.

    Several people's labels of the same count as their mean. The interval is a percentile bootstrap over items.

    Args:
        run: Which may hold labels.
        family: A judge's.

    Returns:
        None where there are no labels, or it is not defined.

    Raises:
        HarnessError: If labels cannot be read.
    """
    said = said_of(run, family)
    rows = [*_rows(said, family)] if said else []
    if not rows:
        return None
    items, judge, people = zip(*rows, strict=True)
    found = bootstrap_interval(spearman, np.array(judge), np.array(people), groups=np.array(items), resamples=RESAMPLES)
    if not all(map(math.isfinite, (found.estimate, found.low, found.high))):
        return None
    return HumanAgreement(measure="Spearman's r", estimate=found.estimate, low=found.low, high=found.high, n=len(rows))


def _rows(said: Said, family: Family) -> list[tuple[str, float, float]]:
    """Item, what the judge said, what people said."""
    anchor = next((s.checkpoint.slug for s in family.scores if s.anchor), None)
    if anchor == EXPECTED:
        return []
    found = []
    for scores in family.scores:
        slug = scores.checkpoint.slug
        if not scores.anchor:
            people = said.win(slug, anchor) if anchor else said.scores.get(slug, {})
            found += [(item, scores.values[item], value) for item, value in people.items() if item in scores.values]
    return found
