"""The ways an item's question may stand in training data."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from harness.overlap.sought import Sought
from harness.overlap.training import Trained
from harness.overlap.words import words


@dataclass(frozen=True)
class Form:
    """A question as words, and the items that ask it.

    Attributes:
        words: Normalised.
        items: Those it is a form of.
        whole: Whether it is all of the question as the item first has it: of its forms one is.
        alone: Whether choices belong to it that are left out here.
        needs_answer: Whether it tells an item only with the answer beside it: short, and without its choices.
    """

    words: tuple[str, ...]
    items: tuple[Sought, ...]
    whole: bool
    alone: bool
    needs_answer: bool

    @property
    def text(self) -> str:
        """The words with one space between them."""
        return " ".join(self.words)

    def is_answered(self, item: Sought, entry: Trained, n: int, threshold: float) -> bool:
        """Whether an entry that holds this form holds the item's expected answer too.

        Of plain text what stands behind the question counts as its answer. Where choices may stand there, nothing can
        be said of the question alone.

        Args:
            item: One of its items.
            entry: The entry.
            n: Words of an n-gram: answers of so many words may differ as questions may.
            threshold: Share of such an answer's words in n-grams that the entry has too.
        """
        expected = " ".join(words(item.expected))
        if not expected or (entry.answers is None and self.alone):
            return False
        said = entry.answers if entry.answers is not None else _behind(self.text, entry.text)
        letter = item.letter.casefold()
        if f" {expected} " in f" {said} " or (letter and f"{said} ".startswith((f"{letter} ", f"answer {letter} "))):
            return True
        return _contained(expected.split(), said.split(), n) >= threshold


def _behind(question: str, text: str) -> str:
    """What follows a question; all of the text where it does not stand there word for word."""
    before, there, behind = f" {text} ".partition(f" {question} ")
    return behind.strip() if there else before.strip()


def _contained(wanted: Sequence[str], said: Sequence[str], n: int) -> float:
    """Share of the words in n-grams that the other text has too; 0 of fewer than n words."""
    there = {tuple(said[at : at + n]) for at in range(len(said) - n + 1)}
    covered = {
        place for at in range(len(wanted) - n + 1) if tuple(wanted[at : at + n]) in there for place in range(at, at + n)
    }
    return len(covered) / max(len(wanted), 1)


def forms_of(items: Sequence[Sought], n: int) -> list[Form]:
    """The forms of items, each once: the question with its choices, with these lettered, and alone.

    A question that others ask about other choices ("Which of these is true?") tells nothing alone, and is left out.

    Args:
        items: Those without a question have none.
        n: A question alone of fewer words needs its answer beside it.
    """
    asked: defaultdict[str, set[str]] = defaultdict(set)
    made: defaultdict[tuple[str, bool, bool], list[Sought]] = defaultdict(list)
    whole = {item.item_id: _whole(item) for item in items}
    for item in items:
        asked[" ".join(words(item.question))].add(whole[item.item_id])
    for item in items:
        question = " ".join(words(item.question))
        if not question:
            continue
        made[whole[item.item_id], True, False].append(item)
        if item.choices:
            made[_lettered(item), False, False].append(item)
            if len(asked[question]) == 1:
                made[question, False, True].append(item)
    return [
        Form(told := tuple(text.split(" ")), tuple(own), whole, alone, alone and len(told) < n)
        for (text, whole, alone), own in made.items()
    ]


def _whole(item: Sought) -> str:
    return " ".join(words("\n".join([item.question, *item.choices])))


def _lettered(item: Sought) -> str:
    lines = [f"{chr(ord('A') + place)} {choice}" for place, choice in enumerate(item.choices)]
    return " ".join(words("\n".join([item.question, *lines])))
