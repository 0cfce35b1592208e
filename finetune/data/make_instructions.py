"""Write `instructions.json`, the instruction set that `ift-eval demo` fine-tunes and evaluates on.

Run as `python -m finetune.data.make_instructions`. The same seed gives the same bytes. Within a kind of
task each case is asked once, in one of several phrasings, so that whatever split is made, no held-out item
is a training item in other words.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

from finetune.data import tasks

PATH = Path(__file__).with_name("instructions.json")
SEED = 7
PER_KIND = 60


@dataclass(frozen=True)
class Kind:
    """One kind of task: its phrasings as (instruction, input) with `{}` fields, and its cases."""

    phrasings: tuple[tuple[str, str], ...]
    cases: tasks.Cases


KINDS: dict[str, Kind] = {
    "uppercase": Kind(
        (
            ("Write the word in capital letters.", "{word}"),
            ("Turn the word {word} into capital letters.", ""),
            ("Change the text to upper case.", "{word}"),
        ),
        tasks.uppercase,
    ),
    "lowercase": Kind(
        (
            ("Write the word in small letters.", "{word}"),
            ("Turn the word {word} into small letters.", ""),
            ("Change the text to lower case.", "{word}"),
        ),
        tasks.lowercase,
    ),
    "plural": Kind(
        (
            ("Give the plural of the noun.", "{word}"),
            ("What do you call more than one {word}?", ""),
            ("Change the word {word} to its plural form.", ""),
        ),
        tasks.plural,
    ),
    "past-tense": Kind(
        (
            ("Give the past tense of the verb.", "{word}"),
            ("Put the verb {word} into the past tense.", ""),
            ("Today I {word}. What word do I use for yesterday?", ""),
        ),
        tasks.past_tense,
    ),
    "comparative": Kind(
        (
            ("Give the comparative of the adjective.", "{word}"),
            ("Write the comparative form of {word}.", ""),
        ),
        tasks.comparative,
    ),
    "antonym": Kind(
        (
            ("Give an antonym of the word.", "{word}"),
            ("Which word means the opposite of {word}?", ""),
            ("Find the word with the opposite meaning.", "{word}"),
        ),
        tasks.antonym,
    ),
    "category": Kind(
        (
            ("Name the category of the thing.", "{thing}"),
            ("Which group does the {thing} belong to?", ""),
            ("Classify the word.", "{thing}"),
        ),
        tasks.category,
    ),
    "colour": Kind(
        (
            ("Name the usual colour of the thing.", "{thing}"),
            ("Which colour does a typical {thing} have?", ""),
            ("I want to paint a picture. Tell me which colour to use.", "{thing}"),
        ),
        tasks.colour,
    ),
    "material": Kind(
        (
            ("Name the material of the thing.", "{thing}"),
            ("Which material do you need to make a {thing}?", ""),
            ("Say what the thing is usually made from.", "{thing}"),
        ),
        tasks.material,
    ),
    "place": Kind(
        (
            ("Say where to find the thing.", "{thing}"),
            ("I am looking for a {thing}. Where should I go?", ""),
            ("Name a place where you can see a {thing}.", ""),
        ),
        tasks.place,
    ),
    "sound": Kind(
        (
            ("Write the sound the animal makes.", "{thing}"),
            ("Which noise do you hear from a {thing}?", ""),
        ),
        tasks.sound,
    ),
    "describe": Kind(
        (
            ("Describe the thing in one sentence.", "{thing}"),
            ("Write a sentence about a {thing}.", ""),
            ("Explain to a child what a {thing} is.", ""),
        ),
        tasks.describe,
    ),
    "addition": Kind(
        (
            ("Add the two numbers.", "{a} and {b}"),
            ("Calculate {a} + {b}.", ""),
            ("I have {a} apples and get {b} more. How many apples do I have now?", ""),
        ),
        tasks.addition,
    ),
    "subtraction": Kind(
        (
            ("Subtract the second number from the first.", "{a} and {b}"),
            ("Calculate {a} - {b}.", ""),
            ("I have {a} apples and eat {b}. How many apples are left?", ""),
        ),
        tasks.subtraction,
    ),
    "number-word": Kind(
        (
            ("Write the number in words.", "{number}"),
            ("Write {number} as a word.", ""),
        ),
        tasks.number_word,
    ),
    "larger": Kind(
        (
            ("Tell which number is larger.", "{a} or {b}"),
            ("Choose the larger number: {a} or {b}.", ""),
        ),
        tasks.larger,
    ),
    "unit": Kind(
        (
            ("Write the unit in full.", "{short}"),
            ("Which unit has the symbol {short}?", ""),
        ),
        tasks.unit,
    ),
    "measure": Kind(
        (
            ("Say what the unit measures.", "{unit}"),
            ("Which quantity has the unit {unit}?", ""),
        ),
        tasks.measure,
    ),
    "conversion": Kind(
        (
            ("Convert to {small}.", "{n} {large}"),
            ("How many {small} are there in {n} {large}?", ""),
            ("Work out the number of {small} in {n} {large}.", ""),
        ),
        tasks.conversion,
    ),
    "spelling": Kind(
        (
            ("Spell the word letter by letter.", "{word}"),
            ("Write the letters of the word {word} one by one.", ""),
        ),
        tasks.spelling,
    ),
    "first-letter": Kind(
        (
            ("Write the first letter of the word.", "{word}"),
            ("Which letter does {word} begin with?", ""),
        ),
        tasks.first_letter,
    ),
    "last-letter": Kind(
        (
            ("Write the last letter of the word.", "{word}"),
            ("Which letter does {word} end with?", ""),
        ),
        tasks.last_letter,
    ),
    "yes-no": Kind(
        (
            ("Answer yes or no: is {thing} {said}?", ""),
            ("Say whether this is true, with yes or no.", "{thing} is {said}"),
        ),
        tasks.yes_no,
    ),
    "odd-one-out": Kind(
        (
            ("Find the word that does not belong with the others.", "{list}"),
            ("Which of these is the odd one out: {list}?", ""),
        ),
        tasks.odd_one_out,
    ),
    "reverse": Kind(
        (
            ("Write the list in reverse order.", "{list}"),
            ("Turn this list around: {list}", ""),
        ),
        tasks.reverse,
    ),
    "sort": Kind(
        (
            ("Sort the words alphabetically.", "{list}"),
            ("Put these words in alphabetical order: {list}", ""),
        ),
        tasks.sort,
    ),
    "count": Kind(
        (
            ("Count the words in the list.", "{list}"),
            ("How many things are in this list: {list}?", ""),
        ),
        tasks.count,
    ),
}


def entries(seed: int = SEED) -> list[dict[str, str]]:
    """Every entry, in shuffled order: instruction, input, output, and the kind of task as `category`."""
    random = Random(seed)
    made = [entry for name, kind in KINDS.items() for entry in _entries_of(name, kind, random)]
    random.shuffle(made)
    return made


def _entries_of(name: str, kind: Kind, random: Random) -> Iterable[dict[str, str]]:
    cases = kind.cases(random)
    for fields, output in random.sample(cases, min(PER_KIND, len(cases))):
        instruction, given = (text.format(**fields) for text in random.choice(kind.phrasings))
        instruction = _with_articles(instruction)
        yield {"instruction": instruction, "input": given, "output": output, "category": name}


def _with_articles(text: str) -> str:
    """Write "an" where a phrasing's "a" has met a vowel."""
    words = text.split(" ")
    for i, (word, after) in enumerate(pairwise(words)):
        if word == "a" and after[0] in "aeiou":
            words[i] = "an"
    return " ".join(words)


def to_json(made: list[dict[str, str]]) -> str:
    """The text of the file: one entry a line, so that a change of one entry is a change of one line."""
    return "[\n" + ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in made) + "\n]\n"


def main() -> None:
    """Write the file."""
    PATH.write_text(to_json(entries()), encoding="utf-8")


if __name__ == "__main__":
    main()
