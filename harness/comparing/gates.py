"""What has to hold for a checkpoint to pass, for a continuous integration that asks by exit code."""

from collections.abc import Iterator

from harness.comparing.missing import MISSING
from harness.findings import Report, Table


def gates(report: Report, *, if_worse: bool = False, under: float | None = None) -> Iterator[str]:
    """What does not hold, a line each.

    Args:
        report: What was found.
        if_worse: No checkpoint may be worse than the baseline, in any table of test items.
        under: What every checkpoint but the baseline must reach in the first table of test items; where less is
            better, what none may exceed.
    """
    tested = report.shown
    for table in tested if if_worse else ():
        yield from _not_worse(table)
    if if_worse and not any(row.comparison for table in tested for row in table.rows):
        yield f"--fail-if-worse: nothing in {report.run} could be compared"
    if under is not None and tested:
        for row in tested[0].rows:
            s = row.summary
            if s.checkpoint == tested[0].baseline and len(tested[0].rows) > 1:
                continue
            short = s.estimate is None or (s.estimate < under if s.higher_is_better else s.estimate > under)
            if short:
                has = "has no score" if s.estimate is None else f"has {s.estimate:.1f}"
                yield f"--fail-under {under:g}: {s.checkpoint} {has} on {tested[0].name}"


def _not_worse(table: Table) -> Iterator[str]:
    """Why rows of a table do not pass: worse, or not known, since what cannot be known must not pass."""
    for row in table.rows:
        c, name = row.comparison, row.summary.checkpoint
        if name == table.baseline:
            continue
        if c is None:
            yield f"--fail-if-worse: {name} cannot be compared with {table.baseline} on {table.name}"
        elif c.verdict == "worse":
            what = f"is worse than {c.baseline} on {table.name} ({c.difference:+.{table.decimals}f})"
            yield f"--fail-if-worse: {name} {what}"
        elif c.verdict.endswith(MISSING):
            yield f"--fail-if-worse: {name} cannot be told from {c.baseline} on {table.name}: {c.verdict}"
