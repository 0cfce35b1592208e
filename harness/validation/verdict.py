"""What a judge may be used for, from what was found: rules in the open, reasons in words."""

import math
from collections.abc import Iterator, Sequence

from harness.validation.results import Flips, People, ProbeResult, Trust

HOLDS = 0.7
"""A probe must be shown to hold in this share of cases."""
CORRELATES = 0.3
"""What the interval of the rank correlation with people must lie above, for ranking."""
MARGIN = 0.1
"""Of the scale: what the bias between two checkpoints must be shown to be below, for ranking."""
FEW = 20
"""Answers labelled, below which nothing is read off labels but that there are too few."""
MISSING = 0.1
"""Share of cases without a score from which on the others may not speak for all."""
MOSTLY_MISSING = 0.5
NOTHING_TO_CHECK = "no check"
"""A case without a score that says nothing of the judge, but something of the entry."""


def trust(
    probes: Sequence[ProbeResult], scale: tuple[float, float], flips: Flips | None = None, people: People | None = None
) -> Trust:
    """The verdict.

    *Not usable* when one of these is shown:

    * a vital probe (right, wrong, empty, null, injection) holds in less than 70 % of cases: Wilson's upper bound
      lies below;
    * half of the probes' cases or more have no score (but for entries with nothing that a check could go by);
    * over at least 20 answers the rank correlation with people is at most 1/sqrt(n - 2), about what chance gives: not
      even correction by human labels gains anything then ("No free lunch", arXiv:2505.20178).

    Else *only with human correction* when one of these is not shown:

    * every probe holds in 70 % of cases or more: Wilson's lower bound lies there (9 of 9, or 26 of 30);
    * at most 10 % of cases have no score;
    * of a judge that compares: that its flips favour neither place (sign test, p >= .05);
    * with labels: there are at least 20; the rank correlation's interval lies above .3; there are two checkpoints or
      more, and the largest difference between their biases lies within a tenth of the scale with its whole interval.
      Bias that all share is no harm, but bias between checkpoints is what a comparison takes for real.

    Else *usable for ranking*; without labels no more than that it passes the planted probes.
    """
    if grave := [*_grave(probes, people)]:
        return Trust(words="not usable", reasons=grave)
    if doubts := [*_doubts(probes, flips), *(_doubts_of_people(people, scale) if people else ())]:
        return Trust(words="only with human correction", reasons=doubts)
    if people is None:
        return Trust(words="passes the planted probes; unchecked against people", reasons=[])
    return Trust(words="usable for ranking", reasons=[])


def _grave(probes: Sequence[ProbeResult], people: People | None) -> Iterator[str]:
    for probe in probes:
        if probe.vital and probe.rate.high is not None and probe.rate.high < HOLDS:
            yield f"{probe.wants}: only in {probe.passed} of {probe.n} cases"
    unscored, total = _unscored(probes)
    if total and unscored >= MOSTLY_MISSING * total:
        yield f"{unscored} of {total} cases have no score"
    if people and people.n >= FEW and people.spearman.value is not None:
        by_chance = 1 / math.sqrt(people.n - 2)
        if people.spearman.value <= by_chance:
            yield f"rank correlation with people is {people.spearman.value:.2f}; chance gives {by_chance:.2f}"


def _doubts(probes: Sequence[ProbeResult], flips: Flips | None) -> Iterator[str]:
    for probe in probes:
        if probe.rate.low is None:
            yield f"{probe.wants}: no case was scored"
        elif probe.rate.low < HOLDS:
            yield f"{probe.wants}: in {probe.passed} of {probe.n}, {_shown(probe.rate.low)}"
    unscored, total = _unscored(probes)
    if unscored > MISSING * total:
        yield f"{unscored} of {total} cases have no score"
    if silent := sum(probe.unscored.get(NOTHING_TO_CHECK, 0) for probe in probes):
        yield f"in {silent} cases the entry names nothing that could be checked; give others with --data FILE"
    if flips and flips.p < 0.05:
        place = "first" if flips.to_first > flips.to_second else "second"
        yield f"flips favour the {place} place: {flips.to_first} to the first, {flips.to_second} to the second"


def _shown(low: float) -> str:
    return f"which shows a share of {low:.2f} or more; {HOLDS:.2f} is wanted (--n for more cases)"


def _unscored(probes: Sequence[ProbeResult]) -> tuple[int, int]:
    unscored = sum(n for probe in probes for why, n in probe.unscored.items() if why != NOTHING_TO_CHECK)
    return unscored, unscored + sum(probe.n for probe in probes)


def _doubts_of_people(people: People, scale: tuple[float, float]) -> Iterator[str]:
    if people.n < FEW:
        yield f"{people.n} answers labelled, at least {FEW} wanted"
    r = people.spearman
    if r.value is None:
        yield "rank correlation with people is not defined: one of them gave one score throughout"
    elif r.low is None or r.low <= CORRELATES:
        low = "unknown" if r.low is None else f"{r.low:.2f}"
        yield f"rank correlation with people is {r.value:.2f}, but may be as low as {low}"
    if people.differential is None:
        yield "labels of one checkpoint only: bias between checkpoints is unknown"
        return
    found, margin = people.differential.difference, MARGIN * (scale[1] - scale[0])
    between = f"{people.differential.one} over {people.differential.other}"
    if found.value is None or found.low is None or found.high is None:
        yield f"bias for {between} cannot be told from so few labels"
    elif found.low > 0 and found.high > margin:
        yield f"favours {between} by {found.value:.3g} ({found.low:.3g} to {found.high:.3g})"
    elif max(-found.low, found.high) > margin:
        ends = f"{found.low:+.3g} to {found.high:+.3g}"
        yield f"may favour {between}: {found.value:+.3g} ({ends}), which is not within {margin:.3g}"
