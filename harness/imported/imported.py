"""What one place says of one checkpoint on one task, in the words of the records."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.checkpoints import slug_of
from harness.errors import HarnessError
from harness.naming import shown_name
from harness.records import JSON, CheckpointRecord, CorpusValue, Evaluation, Outcome
from harness.screen import visible

NO_TASK = "results"  # the name of a table whose file does not say what was measured
DATASET = "imported"  # behind the task, where a run has a digest of its data


@dataclass(frozen=True)
class Imported:
    """Results of one checkpoint on one task.

    Attributes:
        task: The task, or the group it was run in.
        checkpoint: Whose: one of the run's, or one made up for it.
        evaluation: Its items, settings and notes, as if it had been recorded.
        outcomes: By item.
        where: The file or folder it comes from, for errors.
        apart: Whether every metric is a table of its own.
        about: What else is said of the items: by field, the value of every item that has it.
    """

    task: str
    checkpoint: CheckpointRecord
    evaluation: Evaluation
    outcomes: Mapping[str, Outcome]
    where: str
    apart: bool = False
    about: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def metrics(self) -> list[str]:
        """The names of its metrics, those of single items first."""
        own = [name for o in self.outcomes.values() for name in o.metrics]
        return [*dict.fromkeys([*own, *(c.metric for c in self.evaluation.corpus)])]


def imported(
    task: str,
    checkpoint: CheckpointRecord,
    outcomes: Iterable[tuple[str, Outcome]],
    where: str,
    *,
    settings: Mapping[str, JSON] | None = None,
    notes: Sequence[str] = (),
    corpus: Sequence[CorpusValue] = (),
    apart: bool = False,
    about: Mapping[str, Mapping[str, str]] | None = None,
) -> Imported:
    """Results with the evaluation that a run would have listed; `outcomes`: item ids of the table, and what is known.

    Names come from files that anybody may have written, and go to the terminal: what cannot be seen is spelt out.
    """
    task = _plain(task)
    by_item = {item: _legible(outcome) for item, outcome in outcomes}
    corpus = [c.model_copy(update={"metric": _plain(c.metric)}) for c in corpus]
    evaluation = Evaluation(
        stage="benchmark",
        checkpoint=checkpoint.slug,
        dataset=f"{task}-{DATASET}",
        settings=dict(settings or {}),
        records={item: [o.key] for item, o in by_item.items()},
        notes=[*map(_plain, notes)],
        corpus=corpus,
    )
    return Imported(task, checkpoint, evaluation, by_item, where, apart, about or {})


def about_items(said: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, dict[str, str]]:
    """By field, the value of every item that has it.

    Args:
        said: Items, each as often as something is said of it, and their fields. What is no single value, and a field
            that says different things of one item (an answer, say), is no field of the items and left out.
    """
    found: dict[str, dict[str, str]] = {}
    unlike: set[str] = set()
    for item, fields in said:
        for name, value in fields.items():
            text = _plain(str(value)) if isinstance(value, str | int | float | bool) else ""
            if text not in ("", "nan") and found.setdefault(_plain(name), {}).setdefault(item, text) != text:
                unlike.add(_plain(name))
    return {name: values for name, values in found.items() if name not in unlike}


def _plain(text: str) -> str:
    """On one line."""
    return visible(" ".join(text.split()))


def _legible(outcome: Outcome) -> Outcome:
    if all(map(str.isprintable, (outcome.subject, *outcome.metrics, *outcome.higher_is_better, *outcome.parts))):
        return outcome
    named = {
        field: {_plain(name): value for name, value in getattr(outcome, field).items()}
        for field in ("metrics", "higher_is_better", "parts")
    }
    return outcome.model_copy(update={"subject": _plain(outcome.subject), **named})


def checkpoint_called(
    name: str | None, found: str, where: str, known: Collection[CheckpointRecord]
) -> CheckpointRecord:
    """The run's checkpoint of this name, else one made up for it.

    Args:
        name: What the user calls it, if anything.
        found: What the results call it: a name, or the path or reference of a model.
        where: Where the results lie.
        known: The run's checkpoints.

    Raises:
        HarnessError: If the name stands for several of the run's.
    """
    text = name or found.rstrip("/")
    short = text.rpartition("/")[2] or text
    for called in dict.fromkeys((text, short)):
        meant = [c for c in known if called in _names(c)]
        if len(meant) > 1:
            names = " or ".join(shown_name(c) for c in meant)
            raise HarnessError(
                f"--results {where}: {called} stands for several checkpoints of the run; call it {names}"
            )
        if meant:
            return meant[0]
    fingerprint = hashlib.sha256(f"{DATASET} {text}".encode("utf-8", "replace")).hexdigest()[:16]
    return CheckpointRecord(
        name=_plain(short),
        slug=slug_of(short, fingerprint),
        reference=_plain(found),
        fingerprint=fingerprint,
        visible=False,
    )


def _names(checkpoint: CheckpointRecord) -> tuple[str, ...]:
    reference = checkpoint.reference.rstrip("/")
    return checkpoint.name, shown_name(checkpoint), checkpoint.slug, reference, checkpoint.fingerprint
