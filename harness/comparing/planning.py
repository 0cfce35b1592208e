"""How many items it takes to tell checkpoints apart, from how much their differences varied so far."""

from collections.abc import Sequence

from pydantic import BaseModel

from harness.findings import Report, Table
from harness.records import Comparison, OrInfinite
from harness.stats.paired import items_needed


class Need(BaseModel):
    """What two checkpoints need on one metric.

    Attributes:
        checkpoint: The one.
        baseline: The other.
        n: Items they share now.
        difference: Between them now, in points.
        detectable: What the items of now show in 4 of 5 cases; infinite (null in JSON) where they show nothing.
        verdict: Of now, in words.
        needed: Items for the difference that is asked for; None where nothing varied, which tells nothing of others.
    """

    checkpoint: str
    baseline: str
    n: int
    difference: float
    detectable: OrInfinite
    verdict: str
    needed: int | None


class Plan(BaseModel):
    """What one table needs.

    Attributes:
        table: Of which judge or benchmark.
        unit: What a point is.
        mde: The difference to be seen, in points.
        power: With which probability.
        needs: Of each checkpoint against the baseline.
        decimals: Of its numbers, where they are shown.
        in_points: Whether a point is one of a scale that is known.
    """

    table: str
    unit: str
    mde: float
    power: float
    needs: list[Need]
    decimals: int = 1
    in_points: bool = True


def plans(report: Report, mde: float, *, power: float = 0.8, metric: str | None = None) -> list[Plan]:
    """For every table of test items with something to compare.

    Args:
        report: What was found.
        mde: The difference to be seen, in points of each table.
        power: With which probability.
        metric: Only tables of this metric, whose unit `mde` then has; those in points when None.
    """
    chosen = [table for table in report.shown if (table.metric == metric if metric else table.in_points)]
    made = [_plan(table, mde, power) for table in chosen]
    return [plan for plan in made if plan.needs]


def not_in_points(report: Report) -> list[Table]:
    """Tables of which a difference in points says nothing, such as those of a loss."""
    return [table for table in report.shown if not table.in_points and any(row.comparison for row in table.rows)]


def _plan(table: Table, mde: float, power: float) -> Plan:
    comparisons = [row.comparison for row in table.rows if row.comparison]
    unit = "percent of wins" if table.kind == "preference" else table.metric
    return Plan(
        table=table.name,
        unit=unit,
        mde=mde,
        power=power,
        needs=_needs(comparisons, mde, power),
        decimals=table.decimals,
        in_points=table.in_points,
    )


def _needs(comparisons: Sequence[Comparison], mde: float, power: float) -> list[Need]:
    return [
        Need(
            checkpoint=c.checkpoint,
            baseline=c.baseline,
            n=c.n,
            difference=c.difference,
            detectable=c.detectable,
            verdict=c.verdict,
            needed=items_needed(c.sd, mde, power=power) if c.sd else None,
        )
        for c in comparisons
        if c.sd is not None
    ]
