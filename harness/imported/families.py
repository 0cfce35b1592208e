"""Results made elsewhere as what tables are made of, the checkpoints of one task and metric side by side."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from harness.comparing.outcomes import family_of
from harness.comparing.scores import Family, Scores
from harness.errors import HarnessError, unknown_name
from harness.imported.alike import refuse_differing, refuse_without_common_items
from harness.imported.fields import ResultFields
from harness.imported.imported import Imported, about_items
from harness.imported.inspect_logs import read_inspect
from harness.imported.lm_eval_runs import read_lm_eval
from harness.imported.places import Kind, Place, find_place
from harness.imported.score_tables import read_tables
from harness.records import CheckpointRecord

Reader = Callable[[Place, ResultFields, Collection[CheckpointRecord]], list[Imported]]

READERS: Mapping[Kind, Reader] = {"samples": read_lm_eval, "inspect": read_inspect, "table": read_tables}


def imported_families(
    results: Sequence[str],
    fields: ResultFields | None = None,
    *,
    known: Collection[CheckpointRecord] = (),
    metrics: Sequence[str] = (),
) -> list[Family]:
    """Read results of single items that other tools made.

    Args:
        results: `[NAME=]PATH` each: lm-eval's `--log_samples` files or the folder they are in, Inspect's logs, or
            JSON, JSONL, CSV or Parquet files with ids and scores. NAME says whose they are; without it the results do,
            else the name of the file. A name or reference that one of `known` has means that checkpoint.
        fields: Which of their fields hold what; recognised where none is named.
        known: The run's checkpoints.
        metrics: Of lm-eval's metrics the ones to take, the first that there is; else the one the task is known by.

    Returns:
        One family for each task and metric, of kind "benchmark"; shares in percent. Evaluations in them are made up.

    Raises:
        FinetuneError: If a file is not what its ending says.
        HarnessError: If there is nothing to read, something cannot be told, one checkpoint has results of a task
            twice, or results of one task were made in different ways or have no items in common.
    """
    fields = fields or ResultFields()
    read = _told_apart([one for text in results for one in _read(find_place(text), fields, known)])
    by_task: dict[tuple[str, bool], list[Imported]] = {}
    for one in read:
        by_task.setdefault((one.task, one.apart), []).append(one)
    wanted = [fields.score] if fields.score else [*metrics]
    return [family for found in by_task.values() for family in _families(found, fields, wanted)]


def checkpoints_of(families: Iterable[Family], known: Collection[CheckpointRecord] = ()) -> list[CheckpointRecord]:
    """The checkpoints of these families that are none of the known ones."""
    there = {c.slug for c in known}
    found = {s.checkpoint.slug: s.checkpoint for family in families for s in family.scores}
    return [checkpoint for slug, checkpoint in found.items() if slug not in there]


def _read(place: Place, fields: ResultFields, known: Collection[CheckpointRecord]) -> list[Imported]:
    return READERS[place.kind](place, fields, known)


def _told_apart(read: Sequence[Imported]) -> list[Imported]:
    """Models of two organisations with one short name are shown by their whole names."""
    slugs: dict[str, set[str]] = {}
    for one in read:
        slugs.setdefault(one.checkpoint.name, set()).add(one.checkpoint.slug)
    return [
        one
        if len(slugs[one.checkpoint.name]) == 1
        else replace(one, checkpoint=one.checkpoint.model_copy(update={"name": one.checkpoint.reference}))
        for one in read
    ]


def _families(found: Sequence[Imported], fields: ResultFields, metrics: Sequence[str]) -> list[Family]:
    """Of one task: a family for each metric where these stand for themselves, else one."""
    _refuse_twice(found)
    if not found[0].apart:
        _refuse_unknown_metric(found, fields)
        return [_family(found, fields, metrics)]
    names = dict.fromkeys(name for one in found for name in one.metrics)
    return [_without_others(_family([o for o in found if n in o.metrics], fields, [n])) for n in names]


def _family(found: Sequence[Imported], fields: ResultFields, metrics: Sequence[str]) -> Family:
    slugs = {one.checkpoint.slug: one.checkpoint for one in found}
    family = family_of(found[0].task, [(o.evaluation, o.outcomes) for o in found], slugs, metrics=metrics)
    family = replace(family, about=about_items(said for one in found for said in _about(one)))
    refuse_differing(family.name, family.scores)
    for scores in family.scores:
        refuse_without_common_items(family.name, scores, [s for s in family.scores if s is not scores])
    if fields.cluster:  # a sample of the clusters there might be, where a task's subjects are all there are
        family = replace(family, cluster_name=fields.cluster, fixed=False)
    return family


def _about(one: Imported) -> Iterator[tuple[str, dict[str, str]]]:
    for field, values in one.about.items():
        yield from ((item, {field: value}) for item, value in values.items())


def _without_others(family: Family) -> Family:
    """The other metrics have tables of their own."""
    scores: list[Scores] = [replace(s, others={}) for s in family.scores]
    return replace(family, scores=scores)


def _refuse_twice(found: Sequence[Imported]) -> None:
    first: dict[str, Imported] = {}
    for one in found:
        before = first.setdefault(one.checkpoint.slug, one)
        if before is not one:
            raise HarnessError(
                f"--results: {one.checkpoint.name} has results of {one.task} twice, in {before.where} and in "
                f"{one.where}; give each a name of its own: --results NAME=PATH"
            )


def _refuse_unknown_metric(found: Sequence[Imported], fields: ResultFields) -> None:
    there = {name for one in found for name in one.metrics}
    if fields.score and fields.score not in there:
        raise HarnessError(f"--results {found[0].where}: --field-score: {unknown_name('metric', fields.score, there)}")
