"""Four-choice questions about the demo's world: for the quiz, and for the base model to read before it.

Every question is set aside for the quiz or not, by a fixed draw. The text the base model is pretrained on
asks only those that are not: what it has read of a quiz question is the fact, in other sentences, and the
form of a four-choice question, about other facts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from finetune.data import words
from finetune.data.doubts import too_near
from finetune.data.world import Thing, colours, materials, things

LETTERS = "ABCD"
SET_ASIDE = 50
_SEED = 11


@dataclass(frozen=True)
class Question:
    """A question with its right answer and the wrong ones that choices are drawn from."""

    text: str
    right: str
    wrong: tuple[str, ...]

    def choices(self, random: Random, at: int) -> list[str]:
        """Four choices with the right one at position `at`."""
        drawn = random.sample(self.wrong, 3)
        return [*drawn[:at], self.right, *drawn[at:]]


@cache
def subjects() -> dict[str, tuple[Question, ...]]:
    """All questions of each subject."""
    return {
        "animals": tuple(_animals()),
        "colours": tuple(_colours()),
        "made_things": tuple(_made_things()),
        "numbers": tuple(_numbers()),
        "opposites": tuple(_opposites()),
        "word_forms": tuple(_word_forms()),
    }


@cache
def for_quiz(subject: str) -> tuple[Question, ...]:
    """The questions of a subject that are set aside for the quiz."""
    return tuple(Random(f"{_SEED} {subject}").sample(subjects()[subject], SET_ASIDE))


@cache
def for_text(subject: str) -> tuple[Question, ...]:
    """The questions of a subject that the base model may have read."""
    aside = set(for_quiz(subject))
    return tuple(question for question in subjects()[subject] if question not in aside)


def _question(text: str, right: str, options: Iterable[str]) -> Question:
    """Drops options that a careful reader could call right as well."""
    return Question(text, right, tuple(sorted(o for o in set(options) if not too_near(o, right))))


def _animals() -> Iterable[Question]:
    animals = [thing for thing in things() if thing.is_animal]
    kinds = [animal.category for animal in animals]
    sounds = [animal.sound for animal in animals if animal.sound]
    for animal in animals:
        yield _question(f"What kind of animal is {animal.a}?", animal.category, kinds)
        if animal.sound:
            yield _question(f"What sound does {animal.a} make?", animal.sound, sounds)


def _colours() -> Iterable[Question]:
    for thing in things():
        if thing.colour:
            yield _question(f"What colour is {thing.a} usually?", thing.colour, colours())


def _made_things() -> Iterable[Question]:
    made = [thing for thing in things() if thing.material]
    kinds = [thing.category for thing in made]
    for thing in made:
        assert thing.material
        yield _question(f"What is {thing.a} mostly made of?", thing.material, materials())
        yield _question(f"What kind of thing is {thing.a}?", thing.category, kinds)


def _numbers() -> Iterable[Question]:
    for number in range(10, 100):
        near = [words.number_word(n) for n in range(max(10, number - 12), min(99, number + 12) + 1)]
        yield _question(f"How do you write {number} in words?", words.number_word(number), near)
    for a in range(2, 13):
        for b in range(2, a + 1):
            near = [str(n) for n in range(max(1, a + b - 5), a + b + 6)]
            yield _question(f"What is {a} + {b}?", str(a + b), near)


def _opposites() -> Iterable[Question]:
    pairs = [*words.ANTONYMS.items(), *((second, first) for first, second in words.ANTONYMS.items())]
    every = [word for word, _ in pairs]
    for word, opposite in pairs:
        yield _question(f"What is the opposite of {word}?", opposite, [w for w in every if w != word])


def _word_forms() -> Iterable[Question]:
    yield from _forms("What is the past tense of {}?", words.PAST)
    yield from _forms("What is the plural of {}?", {thing.name: thing.plural for thing in _some_things()})
    yield from _forms("What is the comparative of {}?", words.COMPARATIVES)


def _forms(text: str, answers: dict[str, str]) -> Iterable[Question]:
    for word, answer in answers.items():
        yield _question(text.format(word), answer, {*answers.values(), word})


def _some_things() -> Sequence[Thing]:
    """One thing in three: the plurals would crowd out the other forms."""
    return [thing for i, thing in enumerate(things()) if i % 3 == 0 and thing.name != thing.plural]
