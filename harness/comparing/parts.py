"""A family in parts, by what its items have in common: each part compared for itself."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from harness.comparing.contests import Contests
from harness.comparing.scores import Family, Scores
from harness.comparing.side_by_side import adjusted, summarise
from harness.comparing.terms import PLAIN
from harness.findings import Part, Row
from harness.records import JSON, Comparison
from harness.stats.multiplicity import benjamini_hochberg

Names = Mapping[str, str]


def split(
    family: Family, place_of: Callable[[str], str | None], places: Sequence[str] | None = None
) -> dict[str, Family]:
    """The family in parts, by where `place_of` puts an item: in the order of `places`, else of the alphabet."""
    kept: list[dict[str, dict[str, JSON]]] = []
    place_by_item = {item: place_of(item) for s in family.scores[:1] for item in (s.values or s.parts)}
    for scores in family.scores:
        own: dict[str, dict[str, JSON]] = {}
        for item, value in (scores.values or scores.parts).items():
            place = place_by_item[item] if item in place_by_item else place_of(item)
            if place is not None:
                own.setdefault(place, {})[item] = value
        kept.append(own)
    there = {place for own in kept for place in own}
    ordered = sorted(there) if places is None else [place for place in places if place in there]
    return {place: _with_values(family, [own.get(place, {}) for own in kept]) for place in ordered}


def _with_values(family: Family, values: Sequence[dict[str, JSON]]) -> Family:
    """The family with some of its values, none of them missing."""
    return replace(family, scores=[_only(s, own) for s, own in zip(family.scores, values, strict=True)])


def _only(scores: Scores, values: dict[str, JSON]) -> Scores:
    seeds = [_only(s, {item: s.values[item] for item in values}) for s in scores.seeds]
    held = {"parts": values} if scores.parts else {"values": values}
    evaluation = scores.evaluation.model_copy(update={"records": {item: [] for item in values}})
    return replace(scores, evaluation=evaluation, unscored=Counter(), seeds=seeds, **held)  # type: ignore[arg-type]


def part_of(name: str, kind: str, family: Family, baseline: Scores, names: Names) -> Part:
    """One part, compared with the baseline on its items."""
    own = next(s for s in family.scores if s.checkpoint.slug == baseline.checkpoint.slug)
    return Part.model_validate({"name": name, "kind": kind, "rows": rows_for(Contests(family, names, PLAIN), own)})


def rows_for(contests: Contests, baseline: Scores) -> list[Row]:
    """Each checkpoint, and its comparison with the baseline; p adjusted over these (Holm)."""
    family, names = contests.family, contests.names
    rows = [Row(summary=summarise(scores, family, names[scores.checkpoint.slug])) for scores in family.scores]
    others = [scores for scores in family.scores if scores is not baseline]
    made = iter(contests.against(baseline, others))
    return compared(rows, family, [None if s is baseline else next(made) for s in family.scores])


def compared(rows: Sequence[Row], family: Family, made: Sequence[Comparison | None]) -> list[Row]:
    """The rows with their comparisons, p adjusted over these (Holm)."""
    judged = adjusted(made, family)
    return [Row(summary=row.summary, comparison=c) for row, c in zip(rows, judged, strict=True)]


def adjusted_parts(parts: Sequence[Part], family: Family) -> list[Part]:
    """With p adjusted over all parts and checkpoints of the table (Benjamini-Hochberg)."""
    rows = [row for part in parts for row in part.rows]
    judged = iter(adjusted([row.comparison for row in rows], family, benjamini_hochberg))
    return [
        part.model_copy(update={"rows": [Row(summary=row.summary, comparison=next(judged)) for row in part.rows]})
        for part in parts
    ]
