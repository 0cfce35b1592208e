"""Any table by a field of its items: at what is a checkpoint better?"""

from collections.abc import Mapping

from harness.comparing.contests import Contests
from harness.comparing.fields import values_in
from harness.comparing.parts import adjusted_parts, part_of, rows_for, split
from harness.comparing.scores import Scores
from harness.comparing.tables import decimals_of
from harness.errors import HarnessError
from harness.findings import Breakdown, Part

MOST = 200  # parts; a field of more values tells items apart, not kinds of them


def by_field(contests: Contests, field: str, values: Mapping[str, str], baseline: Scores) -> Breakdown:
    """All items, and a part for every value of the field.

    Args:
        contests: Of the table.
        field: Name of the field.
        values: Of the items that have it.
        baseline: Of the family: what to compare with.

    Raises:
        HarnessError: If there are more than `MOST` values.
    """
    family, names = contests.family, contests.names
    items = dict.fromkeys(item for s in family.scores for item in (s.values or s.parts))
    of_item = values_in(values, items)
    different = set(of_item.values())
    if len(different) > MOST:
        raise HarnessError(f"--by {field}: wanted a field of at most {MOST} values, found {len(different):,} values")
    parts = [part_of(name, "subject", own, baseline, names) for name, own in split(family, of_item.get).items()]
    everything = Part(name="all", kind="all", rows=rows_for(contests, baseline))
    return Breakdown(
        name=family.name,
        dataset=family.dataset,
        baseline=names[baseline.checkpoint.slug],
        parts=[everything, *adjusted_parts(parts, family)],
        field=field,
        decimals=decimals_of(family, everything.rows),
    )
