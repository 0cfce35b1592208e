"""The cases of each kind of task in the demo's instruction set: what is asked for, and the right answer.

Each function returns cases as (fields of the phrasing, expected answer), no two with the same fields.
Most list all there are; those with too many to list draw some with the given generator.
"""

from collections.abc import Callable, Iterable
from itertools import chain
from random import Random

from finetune.data import words
from finetune.data.doubts import too_near
from finetune.data.world import Thing, article, categories, colours, things, where

Case = tuple[dict[str, object], str]
Cases = Callable[[Random], list[Case]]

_DRAWN = 80


def uppercase(_: Random) -> list[Case]:
    """`fox` → `FOX`."""
    return [({"word": thing.name}, thing.name.upper()) for thing in things()]


def lowercase(_: Random) -> list[Case]:
    """`FOX` → `fox`."""
    return [({"word": thing.name.upper()}, thing.name) for thing in things()]


def plural(_: Random) -> list[Case]:
    """`mouse` → `mice`."""
    return [({"word": thing.name}, thing.plural) for thing in things()]


def past_tense(_: Random) -> list[Case]:
    """`go` → `went`."""
    return _of_words(words.PAST)


def comparative(_: Random) -> list[Case]:
    """`big` → `bigger`."""
    return _of_words(words.COMPARATIVES)


def antonym(random: Random) -> list[Case]:
    """`big` → `small`, or the other way: one direction a pair, so that none is on both sides of a split."""
    pairs = [pair if random.random() < 0.5 else pair[::-1] for pair in words.ANTONYMS.items()]
    return _of_words(dict(pairs))


def _of_words(answers: dict[str, str]) -> list[Case]:
    return [({"word": word}, answer) for word, answer in answers.items()]


def category(_: Random) -> list[Case]:
    """`fox` → `mammal`."""
    return [({"thing": thing.name}, thing.category) for thing in things()]


def colour(_: Random) -> list[Case]:
    """`frog` → `green`."""
    return [({"thing": thing.name}, thing.colour) for thing in things() if thing.colour]


def material(_: Random) -> list[Case]:
    """`hammer` → `metal`."""
    return [({"thing": thing.name}, thing.material) for thing in things() if thing.material]


def place(_: Random) -> list[Case]:
    """`frog` → `in the pond`."""
    return [({"thing": thing.name}, where(thing.place)) for thing in things() if thing.place]


def sound(_: Random) -> list[Case]:
    """`frog` → `croak`."""
    return [({"thing": thing.name}, thing.sound) for thing in things() if thing.sound]


def describe(_: Random) -> list[Case]:
    """`frog` → `A frog is a green amphibian found in the pond`."""
    return [({"thing": thing.name}, _sentence(thing)) for thing in things() if thing.place]


def _sentence(thing: Thing) -> str:
    assert thing.place
    kind = f"{article(thing.colour)} {thing.colour} {thing.category}" if thing.colour else f"a kind of {thing.category}"
    made = f"made of {thing.material} and " if thing.material else ""
    return f"{thing.a.capitalize()} is {kind} {made}found {where(thing.place)}."


def addition(_: Random) -> list[Case]:
    """`8 and 5` → `13`. The larger number first, so that no sum is on both sides of a split."""
    return [({"a": a, "b": b}, str(a + b)) for a in range(2, 21) for b in range(2, min(a, 10) + 1)]


def subtraction(_: Random) -> list[Case]:
    """`13 and 5` → `8`."""
    return [({"a": a, "b": b}, str(a - b)) for a in range(4, 31) for b in range(2, min(a - 1, 10) + 1)]


def number_word(_: Random) -> list[Case]:
    """`37` → `thirty-seven`."""
    return [({"number": n}, words.number_word(n)) for n in range(101)]


def larger(random: Random) -> list[Case]:
    """`12 or 7` → `12`."""
    pairs = {tuple(sorted(random.sample(range(100), 2))): None for _ in range(_DRAWN)}
    shuffled = [random.sample(pair, 2) for pair in pairs]
    return [({"a": a, "b": b}, str(max(a, b))) for a, b in shuffled]


def unit(_: Random) -> list[Case]:
    """`km` → `kilometre`."""
    return [({"short": short}, name) for short, name in words.UNITS.items()]


def measure(_: Random) -> list[Case]:
    """`litre` → `volume`."""
    return [({"unit": name}, quantity) for name, quantity in words.MEASURES.items()]


def conversion(_: Random) -> list[Case]:
    """`3 hours to minutes` → `180`."""
    return [
        ({"small": small, "large": large, "n": n}, str(n * ratio))
        for small, large, ratio in words.CONVERSIONS
        for n in range(2, 8)
    ]


def spelling(_: Random) -> list[Case]:
    """`frog` → `f r o g`."""
    return [({"word": thing.name}, " ".join(thing.name)) for thing in things()]


def first_letter(_: Random) -> list[Case]:
    """`frog` → `f`."""
    return [({"word": word}, word[0]) for word in _plain_words()]


def last_letter(_: Random) -> list[Case]:
    """`frog` → `g`."""
    return [({"word": word}, word[-1]) for word in _plain_words()]


def _plain_words() -> list[str]:
    names = (thing.name for thing in things())
    return sorted(set(chain(names, words.PAST, words.COMPARATIVES)))


def yes_no(random: Random) -> list[Case]:
    """`a frog is green` → `yes`. One claim about a thing, as often right as wrong."""
    return [_claim(thing, i % 2 == 0, random) for i, thing in enumerate(random.sample(things(), len(things())))]


def _claim(thing: Thing, right: bool, random: Random) -> Case:
    about_colour = thing.colour is not None and random.random() < 0.5
    truth = thing.colour if about_colour and thing.colour else thing.category
    all_values = colours() if about_colour else categories()
    value = truth if right else random.choice([other for other in all_values if not too_near(other, truth)])
    said = value if about_colour else f"a kind of {value}"
    return {"thing": thing.a, "said": said}, "yes" if right else "no"


def odd_one_out(random: Random) -> list[Case]:
    """`frog, toad, hammer, newt` → `hammer`."""
    return _distinct(_odd_one_out(random) for _ in range(_DRAWN))


def _odd_one_out(random: Random) -> Case:
    kind = random.choice(categories())
    other = random.choice([other for other in categories() if not too_near(other, kind)])
    same = random.sample([thing.name for thing in things() if thing.category == kind], 3)
    odd = random.choice([thing.name for thing in things() if thing.category == other])
    return {"list": ", ".join(random.sample([*same, odd], 4))}, odd


def reverse(random: Random) -> list[Case]:
    """`red, blue, green` → `green, blue, red`."""
    lists = [_names(random, random.choice((2, 3, 4))) for _ in range(_DRAWN)]
    return _distinct(({"list": ", ".join(names)}, ", ".join(reversed(names))) for names in lists)


def sort(random: Random) -> list[Case]:
    """`frog, ant, cow` → `ant, cow, frog`."""
    lists = [_names(random, random.choice((3, 4))) for _ in range(_DRAWN)]
    return _distinct(({"list": ", ".join(names)}, ", ".join(sorted(names))) for names in lists)


def count(random: Random) -> list[Case]:
    """`frog, ant, cow` → `3`."""
    lists = [_names(random, random.randint(2, 8)) for _ in range(_DRAWN)]
    return _distinct(({"list": ", ".join(names)}, str(len(names))) for names in lists)


def _names(random: Random, size: int) -> list[str]:
    return [thing.name for thing in random.sample(things(), size)]


def _distinct(cases: Iterable[Case]) -> list[Case]:
    return list({str(fields): (fields, answer) for fields, answer in cases}.values())
