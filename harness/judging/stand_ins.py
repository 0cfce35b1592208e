"""Answers that stand in for those that are not there yet, so that a dry run can show prompts and count calls."""

from collections.abc import Sequence
from pathlib import Path

from harness.checkpoints import Target
from harness.records import Evaluation, Response
from harness.stages import Answered, Asked
from harness.store import Run

TEXT = "(the answer of {name}, which has not been asked yet)"


def stand_ins(folder: Path, targets: Sequence[Target], asked: Sequence[Asked]) -> tuple[Run, list[Answered]]:
    """A run in which every target has answered every item with a word that says so.

    Args:
        folder: Where the run is written; to be thrown away.
        targets: The checkpoints.
        asked: The data sets.
    """
    run = Run(folder)
    found = []
    for target in targets:
        for one in asked:
            text = TEXT.format(name=target.record.name)
            made = [
                Response(
                    key=entry.item_id, item_id=entry.item_id, checkpoint=target.record.fingerprint, prompt="", text=text
                )
                for entry in one.data.evaluated
            ]
            with run.records(Response, "responses", one.data.label, target.record.slug).writing() as writer:
                writer.append(*made)
            evaluation = Evaluation(
                stage="respond",
                checkpoint=target.record.slug,
                dataset=one.data.label,
                role=one.role,
                records={response.item_id: [response.key] for response in made},
            )
            run.add(target.record, evaluation)
            found.append(Answered(target.record, one.data, evaluation))
    return run, found
