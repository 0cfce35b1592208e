"""Files of lm-eval's samples as results: one checkpoint each, the tasks of a group together."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import HarnessError
from harness.imported.fields import ResultFields
from harness.imported.imported import Imported, checkpoint_called, imported
from harness.imported.lm_eval_samples import read_samples
from harness.imported.lm_eval_settings import RunSettings, SampleFile, run_settings, sample_file
from harness.imported.places import Place
from harness.records import CheckpointRecord, CorpusValue, Outcome


@dataclass
class _Group:
    """Tasks that one checkpoint was run on together."""

    settings: RunSettings
    where: str
    outcomes: list[Outcome] = field(default_factory=list)
    corpus: list[CorpusValue] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_lm_eval(place: Place, fields: ResultFields, known: Collection[CheckpointRecord]) -> list[Imported]:
    """What was run on whom.

    Args:
        place: Files of samples; of several runs of a task in one folder the newest counts, as lm-eval has it.
        fields: Which metric, and which fields of the documents.
        known: The run's checkpoints.

    Raises:
        HarnessError: If a file cannot be read, or one name is to stand for several models.
    """
    files = [sample_file(path) for path in place.files]
    kept, older = _newest(files) if place.folder else (files, {})
    runs = {file.path: run_settings(file) for file in kept}
    models = {runs[file.path].model or file.path.stem for file in kept}
    if place.name and len(models) > 1:
        raise HarnessError(
            f"--results {place.name}={place.text}: wanted results of one model for one name, found "
            f"{', '.join(sorted(models))}; leave {place.name}= out, or name one folder each"
        )
    groups: dict[tuple[str, str], _Group] = {}
    for file in kept:
        run = runs[file.path]
        who = run.model or file.path.stem
        group = groups.setdefault((who, run.group(file.task)), _Group(run, str(file.path), notes=run.notes))
        outcomes, corpus = read_samples(file, run, fields)
        group.outcomes += outcomes
        group.corpus += corpus
        group.notes += older.get(file, [])
    return [
        _imported(task, group, checkpoint_called(place.name, who, place.text, known))
        for (who, task), group in groups.items()
    ]


def _imported(task: str, group: _Group, checkpoint: CheckpointRecord) -> Imported:
    tasks = [*dict.fromkeys(o.task for o in group.outcomes)]
    return imported(
        task,
        checkpoint,
        (
            (f"{o.task}/{o.item_id}", o.model_copy(update={"checkpoint": checkpoint.fingerprint}))
            for o in group.outcomes
        ),
        group.where,
        settings=group.settings.settings(tasks),
        notes=[*dict.fromkeys(group.notes)],
        corpus=group.corpus,
    )


def _newest(files: Sequence[SampleFile]) -> tuple[list[SampleFile], Mapping[SampleFile, list[str]]]:
    """The newest file of each folder and task, and what it stands before."""
    newest: dict[tuple[object, str], SampleFile] = {}
    older: dict[SampleFile, list[str]] = {}
    for file in sorted(files, key=lambda f: f.time):  # written so that text order is time order
        before = newest.get(place := (file.path.parent, file.task))
        newest[place] = file
        if before:
            older[file] = [*older.get(before, []), f"{before.path.name} is older and left out"]
    order = [*newest.values()]
    return sorted(order, key=lambda f: f.path), older
