"""Whether results may stand in one table: made in the same way, on some of the same items."""

from collections.abc import Collection, Sequence
from itertools import combinations

from harness.comparing.scores import Scores
from harness.errors import HarnessError
from harness.records import JSON

# A limit may differ, since checkpoints are compared on the items they share.
_MUST_AGREE = ("shots", "version", "chat", "system message", "generation settings", "task arguments", "solver")


def refuse_differing(task: str, scores: Sequence[Scores]) -> None:
    """Raise where two were measured in different ways; what only one of them tells is no difference.

    Raises:
        HarnessError: Saying what differs.
    """
    for one, other in combinations(scores, 2):
        mine, theirs = one.evaluation.settings, other.evaluation.settings
        for name in _MUST_AGREE:
            differing = _differing(mine.get(name), theirs.get(name))
            if differing:
                where, this, that = differing
                of_task = f" of {where}" if where else ""
                raise HarnessError(
                    f"{one.checkpoint.name} and {other.checkpoint.name} were evaluated on {task} with different "
                    f"{name}{of_task} ({this} and {that}); evaluate both alike, or compare them apart"
                )


def _differing(one: JSON, other: JSON) -> tuple[str, JSON, JSON] | None:
    """Where two settings differ, and how; those of a group's tasks one by one, where they are not all the same."""
    if one is None or other is None or one == other:
        return None
    if not isinstance(one, dict) and not isinstance(other, dict):
        return "", one, other
    tasks = [*one] if isinstance(one, dict) else [*other]
    for task in tasks:
        mine = one.get(task) if isinstance(one, dict) else one
        theirs = other.get(task) if isinstance(other, dict) else other
        if None not in (mine, theirs) and mine != theirs:
            return task, mine, theirs
    return None


def refuse_without_common_items(task: str, scores: Scores, others: Sequence[Scores]) -> None:
    """Raise where none of the others has any of its items.

    Raises:
        HarnessError: With an id of each side.
    """
    there = {item for other in others for item in other.evaluation.records}
    mine = scores.evaluation.records
    if others and not there & mine.keys():
        raise no_common_items(task, (scores.checkpoint.name, mine), (others[0].checkpoint.name, there))


def no_common_items(task: str, one: tuple[str, Collection[str]], other: tuple[str, Collection[str]]) -> HarnessError:
    """The error, with how the ids look on both sides; each side with a name."""
    looks = " and ".join(f"{name} has {len(ids)}, such as {min(ids, default='none')!r}" for name, ids in (one, other))
    return HarnessError(
        f"no common items in the results of {task}: {looks}; wanted the same ids (--field-id names the column)"
    )
