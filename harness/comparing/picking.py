"""The pick: chosen on validation items where all have some, reported on test items; and what would settle doubts."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.comparing.baseline import usual_baseline
from harness.comparing.contests import Contests
from harness.comparing.scores import EXPECTED, Family, Scores
from harness.comparing.side_by_side import FEW, adjusted
from harness.findings import Foremost, Pick, Settle, Table
from harness.records import Comparison, Role
from harness.stats.paired import items_needed

POINTS = 0.03  # of the scale: a difference worth settling, where nobody said another


@dataclass(frozen=True)
class Decided:
    """Which checkpoint is picked, and by how much.

    Attributes:
        best: It.
        on: The kind of items it was picked on.
        items: Their number: those that every candidate has a value for.
        runner_up: The next best; None without another.
        lead: Its mean minus the next best's on these items, in the metric's direction.
    """

    best: Scores
    on: Role
    items: int
    runner_up: Scores | None
    lead: float | None


def validation_of(family: Family, shown: Sequence[Family]) -> Family | None:
    """The same judge's scores of the validation items."""
    same = (family.name, family.kind, family.metric, "validation")
    return next((f for f in shown if (f.name, f.kind, f.metric, f.role) == same), None)


def decided(family: Family, validation: Family | None) -> Decided | None:
    """The best on the validation items if all have been judged on them, else on the test items.

    Args:
        family: Scores of the test items.
        validation: Of the validation items.

    Returns:
        None for fewer than two candidates, or without an item that all of them have.
    """
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
    sign = 1 if family.higher_is_better else -1
    means = {s.checkpoint.slug: sign * math.fsum(s.values[item] for item in shared) / len(shared) for s in scored}
    ranked = sorted((s for s in candidates if s.checkpoint.slug in means), key=lambda s: -means[s.checkpoint.slug])
    best, *others = ranked  # of equals the earliest
    lead = means[best.checkpoint.slug] - means[others[0].checkpoint.slug] if others else None
    on: Role = "validation" if all_validated else "test"
    return Decided(best, on, len(shared), others[0] if others else None, lead)


def base_and_pick(family: Family, validation: Family | None) -> list[Scores]:
    """Whom to look at where nobody is named: the baseline, and the pick; the next best where that is the baseline."""
    there = [s for s in family.scores if s.checkpoint.slug != EXPECTED]
    base = usual_baseline([s.checkpoint for s in there])
    first = next((s for s in there if s.anchor), next(s for s in there if s.checkpoint.slug == base.slug))
    made = decided(family, validation)
    ranked = [s for s in (made.best, made.runner_up) if s is not None] if made else []
    return [first, *[s for s in ranked if s is not first][:1]]


def pick_of(
    contests: Contests, validation: Family | None, baseline: Scores, others: Sequence[Table] = ()
) -> Pick | None:
    """The pick, what it gains over the baseline, and who cannot be told apart from it.

    Args:
        contests: Of the judged test items.
        validation: The same judge's scores of the validation items.
        baseline: What the others are compared with.
        others: The other tables, some of which the pick may do worse in.
    """
    family, names = contests.family, contests.names
    made = decided(family, validation)
    if made is None:
        return None
    picked = made.best
    rivals = [s for s in family.scores if s is not picked and s.checkpoint.slug != EXPECTED]
    told = adjusted(contests.against(picked, rivals), family)
    named = list(zip((names[s.checkpoint.slug] for s in rivals), told, strict=True))
    name = names[picked.checkpoint.slug]
    return Pick(
        name=name,
        picked_on=made.on,
        against_base=_against(contests, baseline, picked),
        undecided=[other for other, c in named if c is None or c.verdict not in ("better", "worse")],
        n_deciding=made.items,
        contradicted=[other for other, c in named if c is not None and c.verdict == "better"],
        others=[c for _, c in named if c is not None],
        runner_up=names[made.runner_up.checkpoint.slug] if made.runner_up else None,
        lead=made.lead,
        worse_on=[*_worse_on(name, others)],
    )


def foremost_of(contests: Contests) -> Foremost | None:
    """Who is best on validation items that stand alone; None for fewer than two candidates."""
    made = decided(contests.family, None)
    if made is None or made.runner_up is None or made.lead is None:
        return None
    best, second = (contests.names[scores.checkpoint.slug] for scores in (made.best, made.runner_up))
    return Foremost(name=best, n=made.items, runner_up=second, lead=made.lead)


def _worse_on(name: str, tables: Sequence[Table]) -> Iterator[Comparison]:
    """Comparisons of other tables in which the pick is certainly worse than the baseline, by name of the table."""
    for table in tables:
        for c in (row.comparison for row in table.rows if row.comparison):
            if c.checkpoint == name and c.verdict == "worse":
                yield c.model_copy(update={"metric": table.name})


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
    """Where nothing has varied so far, or too much is missing, nothing can be said of more items."""
    return [c for c in made if c is not None and c.sd and not c.verdict]


def _points(contests: Contests) -> float:
    low, high = contests.family.scale or (0.0, 100.0)
    return contests.terms.margin or POINTS * (high - low)
