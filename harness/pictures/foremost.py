"""What is said in place of a pick where only validation items are shown."""

from harness.findings import Report
from harness.pictures.table import number


def foremost_sentence(report: Report) -> str:
    """Who is best on these items, by how much, and why that is no number to report; "" where nobody is."""
    best, table = report.foremost, report.headline
    if best is None or table is None:
        return ""
    lead = number(best.lead, table.decimals)
    ahead = f"{lead} ahead of {best.runner_up}" if float(lead) else f"{best.runner_up} was as good"
    return (
        f"Best on the {best.n:,} validation items: {best.name} ({ahead}). "
        "Its score there flatters it; a fair one needs test items."
    )
