"""One person's review as a machine of states: what is shown, what a key does, what is left. It neither draws nor reads.

What was said is handed to `keep` at once, so that a review that is killed has lost nothing.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.review.keys import COMMANDS, Keys

Did = Literal["labelled", "skipped", "undone", "note", "quit", "help", "unknown", "nothing to undo"]


@dataclass(frozen=True)
class Shown:
    """An answer as the person sees it, and what the person does not see.

    Attributes:
        slug: Whose it is.
        response: Key of its record.
        text: What it says.
    """

    slug: str
    response: str
    text: str


@dataclass(frozen=True)
class Question:
    """What a person is asked: how good an answer is, or which of two is better.

    Attributes:
        key: Of the label that it makes.
        item_id: The item.
        instruction: What was asked.
        expected: The expected answer; "" where there is none.
        answers: One, or two in the order shown.
        probability: With which the item was drawn.
        swapped: Of two, whether the checkpoint that the label is about is shown second.
    """

    key: str
    item_id: str
    instruction: str
    expected: str
    answers: tuple[Shown, ...]
    probability: float
    swapped: bool = False


Keep = Callable[[Question, float | None, str], None]  # what is asked, the score (None: taken back), a note


class Session:
    """A review in progress."""

    def __init__(self, questions: Sequence[Question], keys: Keys, keep: Keep, *, labelled: Sequence[str] = ()) -> None:
        """Begin, or go on.

        Args:
            questions: All of them, in the order in which they are to be shown.
            keys: What can be said.
            keep: Called with what was said before the next question is shown.
            labelled: Keys of those that this person has answered before, oldest first: they are not shown again, but
                can be taken back.
        """
        self.questions = list(questions)
        self.keys = keys
        self._keep = keep
        self._by_key = {question.key: question for question in questions}
        self._done = [key for key in labelled if key in self._by_key]  # oldest first
        self._skipped: list[str] = []
        self._acts = list(self._done)  # labels and skips, which undo goes back through
        self._notes: dict[str, str] = {}  # of questions that are not answered yet, or no longer
        self.quit = False

    @property
    def current(self) -> Question | None:
        """What is asked now; None when nothing is left, or the person has quit."""
        passed = {*self._done, *self._skipped}
        return None if self.quit else next((q for q in self.questions if q.key not in passed), None)

    def write(self, note: str) -> None:
        """Put a note on the current question; it is kept with the answer, also after a skip or an undo."""
        if self.current is not None:
            self._notes[self.current.key] = note

    @property
    def unkept(self) -> int:
        """Notes on questions without an answer, which nothing keeps."""
        return sum(bool(note) and key not in self._done for key, note in self._notes.items())

    @property
    def labelled(self) -> int:
        """Questions answered, before and now."""
        return len(self._done)

    @property
    def skipped(self) -> int:
        """Questions passed over now; the next session asks them again."""
        return len(self._skipped)

    @property
    def place(self) -> int:
        """Number of the current question, from 1."""
        return self.labelled + self.skipped + 1

    def press(self, key: str) -> Did:
        """Do what a key stands for.

        Raises:
            HarnessError: As `keep` does; the question stays.
        """
        question = self.current
        assert question is not None, "nothing is asked"
        key = key.lower()
        if key in self.keys.scores:
            return self._label(question, self.keys.scores[key])
        match COMMANDS.get(key):
            case "skip":
                return self._skip(question)
            case "undo":
                return self._undo()
            case "quit":
                self.quit = True
                return "quit"
            case None:
                return "unknown"
            case "note" | "help" as told:
                return told

    def _skip(self, question: Question) -> Did:
        self._skipped.append(question.key)
        self._acts.append(question.key)
        return "skipped"

    def _label(self, question: Question, score: float) -> Did:
        self._keep(question, 1 - score if question.swapped else score, self._notes.get(question.key, ""))
        self._done.append(question.key)
        self._acts.append(question.key)
        return "labelled"

    def _undo(self) -> Did:
        """Take back the last label or skip, of an earlier session too; its question comes next."""
        if not self._acts:
            return "nothing to undo"
        last = self._acts[-1]
        if last in self._done:
            self._keep(self._by_key[last], None, "")
            self._done.remove(last)
        else:
            self._skipped.remove(last)
        self._acts.pop()
        self.questions.sort(key=lambda question: question.key != last)  # stable: the others keep their order
        return "undone"


def shuffled(keys: Collection[str], seed: str) -> list[str]:
    """In an order that the same seed gives again, whatever else is there."""
    return sorted(keys, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogatepass")).hexdigest())
