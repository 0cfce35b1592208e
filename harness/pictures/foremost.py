"""What is said in place of a pick where only validation items are shown."""

from harness.findings import Report
from harness.pictures.table import number


def foremost_sentence(report: Report) -> str:
    """Who is best on these items, by how much, and why that is no number to report; "" where nobody is."""
    best, table = report.foremost, report.headline
    if best is None or table is None:
        return ""
    ahead = ""
    if best.runner_up is not None and best.lead is not None:
        lead = number(best.lead, table.decimals)
        even = float(lead) == 0
        ahead = f"{best.runner_up} was as good" if even else f"{lead} ahead of {best.runner_up}"
    return (
        f"Best on the {best.n:,} validation items: {best.name}{f' ({ahead})' if ahead else ''}. "
        "Its score there flatters it; a fair one needs test items."
    )
