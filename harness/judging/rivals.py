"""Whom each checkpoint is compared with, answer by answer."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.comparing.baseline import usual_baseline
from harness.comparing.scores import EXPECTED
from harness.errors import HarnessError
from harness.judging.prefer import EXPECTED_ANSWERS, Rival
from harness.naming import as_recorded, choose_checkpoints
from harness.records import CheckpointRecord, Evaluation
from harness.store import Run

if TYPE_CHECKING:
    from harness.stages import Answered


class Rivals:
    """The other side of every comparison."""

    def __init__(self, run: Run, answered: "Sequence[Answered]", against: str | None):
        """Find out whom the checkpoints are compared with.

        Args:
            run: Which may know others than those that answered now.
            answered: The answers.
            against: A checkpoint's name or reference, or "expected"; None for what the others were trained from.

        Raises:
            HarnessError: If nobody of that name has answered, or nobody else has.
        """
        self._run, self._answered = run, answered
        self._recorded = run.read()
        self._one = None if against == EXPECTED else self._find(against)

    @property
    def name(self) -> str:
        """Of the other side."""
        return self._one.name if self._one else EXPECTED_ANSWERS.name

    def pairs(self) -> "Iterator[tuple[Answered, Rival]]":
        """Every checkpoint's answers, with whom they are compared.

        Raises:
            HarnessError: If the rival has not answered a data set.
        """
        if self._one is None:
            yield from ((one, EXPECTED_ANSWERS) for one in self._answered)
            return
        others = [one for one in self._answered if one.checkpoint.slug != self._one.slug]
        if not others:
            raise HarnessError(
                f"wanted another checkpoint to compare with {self._one.name}, found none; "
                f"name one more, or compare with the expected answers: --against expected"
            )
        for one in others:
            yield one, self._rival(self._one, one.data.label)

    def _find(self, against: str | None) -> CheckpointRecord:
        if against is None:
            return usual_baseline([one.checkpoint for one in self._answered])
        found = choose_checkpoints(self._recorded, as_recorded(self._recorded, against))
        if len(found) > 1:
            several = ", ".join(c.name for c in found)
            raise HarnessError(f"--against {against}: wanted one checkpoint, found {several}; name one of them")
        return found[0]

    def _rival(self, checkpoint: CheckpointRecord, label: str) -> Rival:
        return Rival(checkpoint.slug, checkpoint.fingerprint, checkpoint.name, self._answers(checkpoint, label))

    def _answers(self, checkpoint: CheckpointRecord, label: str) -> Evaluation:
        """Those of now, else the newest recorded."""
        for one in self._answered:
            if (one.checkpoint.slug, one.data.label) == (checkpoint.slug, label):
                return one.evaluation
        for recorded in reversed(self._recorded.evaluations):
            place = (recorded.stage, recorded.checkpoint, recorded.dataset)
            if place == ("respond", checkpoint.slug, label):
                return recorded
        raise HarnessError(
            f"{checkpoint.name} has not answered {label.rpartition('-')[0]}; name it among the checkpoints too"
        )
