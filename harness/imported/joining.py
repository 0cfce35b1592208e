"""Results made elsewhere beside what the run has recorded: one table where they are of the same task and items."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from harness.comparing.agreement import WRITTEN
from harness.comparing.scores import Family, Scores
from harness.errors import HarnessError
from harness.imported.alike import no_common_items, refuse_differing
from harness.imported.imported import NO_TASK

V = TypeVar("V")

_PERCENT = 100.0


def joined(recorded: Sequence[Family], imported: Sequence[Family]) -> list[Family]:
    """Put imported checkpoints into the recorded table of the same task and metric; others keep tables of their own.

    Args:
        recorded: What the run holds.
        imported: See `imported_families`.

    Returns:
        The recorded families in their order, some of them with more checkpoints, then those left.

    Raises:
        HarnessError: If a task's items have nothing in common on the two sides, they were measured in different ways,
            or a checkpoint of the run would be there twice.
    """
    families, alone = [*recorded], []
    for family in imported:
        fitting = [n for n, there in enumerate(families) if _same(there, family)]
        fitting.sort(key=lambda n: families[n].name != family.name)
        place = next(iter(fitting), None)
        if place is None:
            alone.append(_with_note(family, recorded))
        else:
            families[place] = _with(families[place], family)
    return families + alone


def _with_note(family: Family, recorded: Sequence[Family]) -> Family:
    """Why results about the very items of a recorded table have a table of their own."""
    alike = next((there for there in recorded if _items(there) & _items(family)), None)
    if alike is None:
        return family
    what = f"{alike.metric} is recorded and not {family.name} {family.metric}"
    note = f"its items are those of {alike.name}, of which {what}"
    return replace(family, scores=[_noted(scores, note) for scores in family.scores])


def _noted(scores: Scores, note: str) -> Scores:
    notes = [*scores.evaluation.notes, note]
    return replace(scores, evaluation=scores.evaluation.model_copy(update={"notes": notes}))


def _same(recorded: Family, imported: Family) -> bool:
    """By name and metric; by its items, where a file does not say what was measured, or it is a part of the other."""
    if recorded.kind != imported.kind or recorded.metric != imported.metric or recorded.role != imported.role:
        return False
    if recorded.name == imported.name:
        return True
    # The same questions, but choices that were written are another measure than choices compared.
    if recorded.name.endswith(WRITTEN) or imported.name.endswith(WRITTEN):
        return False
    part = recorded.name.startswith(f"{imported.name}_") or imported.name.startswith(f"{recorded.name}_")
    return (part or imported.name == NO_TASK) and bool(_items(recorded) & _items(imported))


def _items(family: Family) -> set[str]:
    return {item for scores in family.scores for item in scores.evaluation.records}


def _with(recorded: Family, imported: Family) -> Family:
    imported = _renamed(imported, _items(recorded))
    mine, theirs = _items(recorded), _items(imported)
    if not mine & theirs:
        raise no_common_items(recorded.name, ("the run", mine), (imported.scores[0].checkpoint.name, theirs))
    there = {s.checkpoint.slug: s.checkpoint.name for s in recorded.scores}
    for scores in imported.scores:
        if scores.checkpoint.slug in there:
            name = scores.checkpoint.name
            raise HarnessError(
                f"--results: the run has recorded {recorded.name} of {name} itself; give the other results another "
                f"name: --results NAME=PATH"
            )
    refuse_differing(recorded.name, [*recorded.scores, *imported.scores])
    recorded, imported = _on_one_scale(recorded, imported)
    return replace(
        recorded,
        scores=[*recorded.scores, *(_listed_under(s, recorded) for s in imported.scores)],
        clusters={**imported.clusters, **recorded.clusters},
        cluster_name=recorded.cluster_name or imported.cluster_name,
        fixed=recorded.fixed if recorded.clusters else imported.fixed,
        about={**imported.about, **recorded.about},
    )


def _listed_under(scores: Scores, family: Family) -> Scores:
    return replace(scores, evaluation=scores.evaluation.model_copy(update={"dataset": family.dataset}))


def _renamed(family: Family, known: set[str]) -> Family:
    """With ids that lack only the task in front, as lm-eval's doc ids do, as the run has them."""
    longer = {item: f"{family.name}/{item}" for item in _items(family)}
    if any(item in known for item in longer) or not any(name in known for name in longer.values()):
        return family
    scores = [
        replace(
            s,
            values=_under(s.values, longer),
            parts=_under(s.parts, longer),
            evaluation=s.evaluation.model_copy(update={"records": _under(s.evaluation.records, longer)}),
        )
        for s in family.scores
    ]
    about = {name: _under(values, longer) for name, values in family.about.items()}
    return replace(family, scores=scores, clusters=_under(family.clusters, longer), about=about)


def _under(values: Mapping[str, V], names: Mapping[str, str]) -> dict[str, V]:
    return {names[item]: value for item, value in values.items()}


def _on_one_scale(one: Family, other: Family) -> tuple[Family, Family]:
    """Shares are in percent only where all checkpoints have nothing else; else both as they were written."""
    if one.aggregation != other.aggregation:
        raise HarnessError(
            f"{one.name}: {one.metric} is made of its items in different ways in the run ({one.aggregation or 'mean'}) "
            f"and in the results ({other.aggregation or 'mean'}); compare them apart"
        )
    if one.aggregation or one.scale == other.scale:
        return one, other
    return _as_written(one), _as_written(other)


def _as_written(family: Family) -> Family:
    if family.scale is None:
        return family
    scores = [
        replace(
            s,
            values={item: value / _PERCENT for item, value in s.values.items()},
            chance=None if s.chance is None else s.chance / _PERCENT,
        )
        for s in family.scores
    ]
    return replace(family, scores=scores, scale=None)
