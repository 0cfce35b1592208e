"""One metric of all checkpoints as a table: numbers, comparisons with the baseline, and what makes them doubtful."""

import math
from collections.abc import Iterator, Mapping, Sequence

from harness.comparing.contests import Contests
from harness.comparing.groups import SUITES
from harness.comparing.missing import missing_warnings
from harness.comparing.scores import Family, Scores
from harness.comparing.side_by_side import FEW, FEW_CLUSTERS, adjusted, summarise
from harness.findings import Row, Table
from harness.records import Comparison, Summary


def baseline_of(family: Family, slug: str) -> Scores:
    """What the others of a family are compared with: its anchor, else the one of a slug, else its first."""
    usual = next((s for s in family.scores if s.checkpoint.slug == slug), family.scores[0])
    return next((s for s in family.scores if s.anchor), usual)


def table_for(contests: Contests, baseline: Scores, *, all_pairs: bool = False) -> Table:
    """The table of a family.

    Args:
        contests: Of the family.
        baseline: One of its scores.
        all_pairs: With every checkpoint against every other one.
    """
    family, names = contests.family, contests.names
    pairs = adjusted(contests.every_pair(), family) if all_pairs else []  # first: one set of draws then serves all
    rows = [Row(summary=summarise(scores, family, names[scores.checkpoint.slug])) for scores in family.scores]
    others = [(row, s) for row, s in zip(rows, family.scores, strict=True) if s is not baseline]
    made = contests.against(baseline, [scores for _, scores in others])
    for (row, _), comparison in zip(others, adjusted(made, family), strict=True):
        row.comparison = comparison
    return Table(
        name=family.name,
        kind=family.kind,
        dataset=family.dataset,
        role=family.role,
        metric=family.metric,
        baseline=names[baseline.checkpoint.slug],
        rows=rows,
        at_chance=_at_chance([row.summary for row in rows]),
        others=_others(family, names),
        clusters=family.cluster_name,
        fixed_clusters=family.fixed,
        pairs=[pair for pair in pairs if pair is not None],
        warnings=[*_warnings(contests, baseline, [s for _, s in others], made)],
        decimals=decimals_of(family, rows),
        in_points=family.scale is not None,
        notes=_notes(family, names),
        over_all=bool(family.aggregation),
    )


def _at_chance(summaries: Sequence[Summary]) -> bool | None:
    """Whether no checkpoint can be told from guessing; None where chance is unknown."""
    known = [s for s in summaries if s.low is not None and s.high is not None and s.chance is not None]
    inside = [(s.low or 0.0) <= (s.chance or 0.0) <= (s.high or 0.0) for s in known]
    return all(inside) if inside else None


def _others(family: Family, names: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """The family's other metrics, each by checkpoint."""
    metrics = dict.fromkeys(metric for s in family.scores for metric in s.others)
    return {m: {names[s.checkpoint.slug]: s.others[m] for s in family.scores if m in s.others} for m in metrics}


def _notes(family: Family, names: Mapping[str, str]) -> dict[str, list[str]]:
    """Those of a benchmark; of MMLU they stand among what makes it unlike published numbers."""
    if family.kind != "benchmark" or family.name in SUITES:
        return {}
    return {names[s.checkpoint.slug]: s.evaluation.notes for s in family.scores if s.evaluation.notes}


def _warnings(
    contests: Contests, baseline: Scores, others: Sequence[Scores], made: Sequence[Comparison | None]
) -> Iterator[str]:
    family, names = contests.family, contests.names
    for scores, comparison in zip(others, made, strict=True):
        if comparison is not None and not baseline.anchor:
            yield from missing_warnings(scores, baseline, comparison, contests.terms)
        elif comparison is None and _known(scores) >= FEW and _known(baseline) >= FEW:
            both = f"{names[scores.checkpoint.slug]} and {names[baseline.checkpoint.slug]}"
            common = len({*scores.values, *scores.parts} & {*baseline.values, *baseline.parts})
            why = f"fewer than {FEW} items in common" if common < FEW else f"no finite {family.metric} to compare"
            yield f"{both} have {why}, so they cannot be compared"
    if not family.fixed:
        yield from _of_clusters(family)
    single = [names[s.checkpoint.slug] for s in family.scores if not s.seeds]
    if single and len(single) < len(family.scores):
        yield f"one checkpoint each, so what other seeds would do is not in their intervals: {', '.join(single)}"


def _of_clusters(family: Family) -> Iterator[str]:
    n = len(set(family.matrix.clusters.tolist()))
    without = sum(item not in family.clusters for item in family.matrix.items)
    if n < FEW_CLUSTERS:
        yield f"{n} clusters ({family.cluster_name}): fewer than {FEW_CLUSTERS} can show no difference"
    if without:
        yield f"{without} items have no {family.cluster_name}; each of them counts as a cluster by itself"


def _known(scores: Scores) -> int:
    return len(scores.values) or len(scores.parts)


def decimals_of(family: Family, rows: Sequence[Row]) -> int:
    """As many as tell two numbers apart: a scale of 100 points needs fewer than one of 5, or bits per byte."""
    if family.scale:
        width = family.scale[1] - family.scale[0]
    else:
        width = max((abs(row.summary.estimate) for row in rows if row.summary.estimate is not None), default=100.0)
    usual = 1 if width > 20 else 2 if width > 2 else 3
    size = _smallest(rows)
    # Two digits of what would be shown as 0.000 otherwise.
    return usual if size is None or size >= 0.5 * 10.0**-usual else 1 - math.floor(math.log10(size))


def _smallest(rows: Sequence[Row]) -> float | None:
    """What must not be shown as nothing: how far differences may be off, and every difference that can be told."""
    compared = [row.comparison for row in rows if row.comparison]
    ends = [(c.low, c.high) for c in compared]
    ends = ends or [(s.low, s.high) for s in (row.summary for row in rows) if s.low is not None and s.high is not None]
    half = max((high - low for low, high in ends if math.isfinite(high - low)), default=0.0) / 2
    told = [abs(c.difference) for c in compared if c.verdict in ("better", "worse")]
    return min((size for size in (half, *told) if size > 0), default=None)
