"""What is known of the items beside their scores: fields of the entries (category, source), subjects of benchmarks."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from finetune.instructions import read_entries
from harness.comparing.scores import Family
from harness.errors import unknown_name
from harness.store import Run

NONE = "(none)"  # stands for a value that an item does not have


def fields_of(run: Run, family: Family) -> dict[str, dict[str, str]]:
    """By field, the value of every item that has it.

    Of judged data these are the fields of the entries beside question and answer, of benchmarks the subject, of results
    made elsewhere what they say of the items.
    """
    found = {name: dict(values) for name, values in family.about.items()}
    if family.cluster_name:
        found[family.cluster_name] = dict(family.clusters)
    path = run.data_file(family.dataset)
    for entry in read_entries(path) if family.kind != "benchmark" and path.exists() else ():
        for name, value in entry.meta.items():
            if isinstance(value, str | int | float | bool):
                found.setdefault(name, {})[entry.item_id] = str(value)
    return found


def having(run: Run, families: Sequence[Family], field: str, flag: str) -> dict[int, dict[str, str]]:
    """The values of a field, by the place of each family that has it.

    Raises:
        HarnessError: If none has.
    """
    known = [fields_of(run, family) for family in families]
    found = {n: fields[field] for n, fields in enumerate(known) if field in fields}
    if not found:
        raise unknown_name(f"field of the items ({flag})", field, {name for fields in known for name in fields})
    return found


def with_clusters(family: Family, values: Mapping[str, str], field: str) -> Family:
    """The family with its items in clusters by a field, as a sample of more such clusters."""
    return replace(family, clusters=values, cluster_name=field, fixed=False)


def values_in(values: Mapping[str, str], items: Collection[str]) -> dict[str, str]:
    """The value of every item; of those without one `NONE`."""
    return {item: values.get(item, NONE) for item in items}
