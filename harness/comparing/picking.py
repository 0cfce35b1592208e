"""The pick: chosen on validation items where all have some, reported on test items; and what would settle doubts."""

import math
from collections.abc import Sequence

from harness.comparing.contests import Contests
from harness.comparing.scores import EXPECTED, Family, Scores
from harness.comparing.side_by_side import FEW, adjusted
from harness.findings import Pick, Settle
from harness.records import Comparison
from harness.stats.paired import items_needed

POINTS = 0.03  # of the scale: a difference worth settling, where nobody said another


def pick_of(contests: Contests, validation: Family | None, baseline: Scores) -> Pick | None:
    """The best on the validation items if all have been judged on them, else on the test items.

    Args:
        contests: Of the judged test items.
        validation: The same judge's scores of the validation items.
        baseline: What the others are compared with.
    """
    family, names = contests.family, contests.names
    candidates = [s for s in family.scores if s.checkpoint.slug != EXPECTED]
    if len(candidates) < FEW:
        return None
    on_validation = {s.checkpoint.slug: s for s in validation.scores if s.values} if validation else {}
    all_validated = all(s.checkpoint.slug in on_validation for s in candidates)
    deciding = [on_validation[s.checkpoint.slug] for s in candidates] if all_validated else candidates
    scored = [s for s in deciding if s.values]
    # On items that all have, or a checkpoint whose hardest items went unscored would win.
    shared = set.intersection(*(set(s.values) for s in scored)) if scored else set()
    if not shared:
        return None
    best = max(scored, key=lambda s: math.fsum(s.values[item] for item in shared))  # the earliest of equals
    picked = next(s for s in candidates if s.checkpoint.slug == best.checkpoint.slug)
    others = [s for s in candidates if s is not picked]
    told = adjusted(contests.against(picked, others), family)
    named = list(zip((names[s.checkpoint.slug] for s in others), told, strict=True))
    return Pick(
        name=names[picked.checkpoint.slug],
        picked_on="validation" if all_validated else "test",
        against_base=_against(contests, baseline, picked),
        undecided=[name for name, c in named if c is None or c.verdict not in ("better", "worse")],
        n_deciding=len(shared),
        contradicted=[name for name, c in named if c is not None and c.verdict == "better"],
    )


def _against(contests: Contests, baseline: Scores, picked: Scores) -> Comparison | None:
    """The picked one's comparison with the baseline, p adjusted over all that are compared with it."""
    if picked is baseline:
        return None
    others = [s for s in contests.family.scores if s is not baseline]
    told = adjusted(contests.against(baseline, others), contests.family)
    return next(c for s, c in zip(others, told, strict=True) if s is picked)


def settle(contests: Contests, pick: Pick) -> list[Settle]:
    """How many items would tell from the pick those that cannot be told from it."""
    by_name = {contests.names[s.checkpoint.slug]: s for s in contests.family.scores}
    undecided = [by_name[name] for name in pick.undecided]
    made = contests.against(by_name[pick.name], undecided)
    points = _points(contests)
    return [
        Settle(
            checkpoint=c.checkpoint,
            pick=pick.name,
            points=points,
            n=c.n,
            needed=items_needed(c.sd, points),
        )
        for c in _varying(made)
        if c.sd is not None
    ]


def _varying(made: Sequence[Comparison | None]) -> list[Comparison]:
    """Where nothing has varied so far nothing can be said of more items."""
    return [c for c in made if c is not None and c.sd]


def _points(contests: Contests) -> float:
    low, high = contests.family.scale or (0.0, 100.0)
    return contests.terms.margin or POINTS * (high - low)
