"""What the tiny base model reads: endless generated text about the demo's world.

Facts in sentences, lists, cards, short stories, conversations and four-choice tests. Never in the form of
the instruction set, and never a question that is set aside for the quiz.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random

from finetune.data import words
from finetune.data.doubts import too_near
from finetune.data.questions import LETTERS, Question, for_text, subjects
from finetune.data.world import Thing, article, categories, things, where

Writer = Callable[[Random], str]


def documents(seed: int) -> Iterator[str]:
    """Documents without end, the same for the same seed."""
    random = Random(seed)
    writers, weights = zip(*_WRITERS.items(), strict=True)
    while True:
        yield random.choices(writers, weights)[0](random)


def _about_a_thing(random: Random) -> str:
    """Several sentences on one thing."""
    facts = _sentences(random.choice(things()), random)
    return " ".join(random.sample(facts, min(len(facts), random.randint(3, 7))))


def _facts(random: Random) -> str:
    """Single sentences on many things."""
    chosen = random.sample(things(), 6)
    return random.choice((" ", "\n")).join(random.choice(_sentences(thing, random)) for thing in chosen)


def _sentences(thing: Thing, random: Random) -> list[str]:
    """Everything there is to say of a thing, each fact in one of its forms."""
    name, plural = thing.name, thing.plural
    kind = _one(thing.category)
    an, An = thing.a, thing.a.capitalize()
    many = plural.capitalize()
    forms: list[tuple[str, ...]] = [
        (f"{An} is a kind of {thing.category}.", f"The {name} is {kind}.", f"{name} is {kind}"),
        (f"One {name}, two {plural}.", f"The plural of {name} is {plural}.", f"{name}, {plural}"),
        (f"In capitals {name} is {name.upper()}.", f"{name.upper()} is {name} in capitals.", f"{name} {name.upper()}"),
        (f"The letters of {name} are {' '.join(name)}.", f"{name}: {' '.join(name)}", f"{' '.join(name)} is {name}."),
        (f"The first letter of {name} is {name[0]}.", f"{An} starts with {name[0]}.", f"{name[0]} is for {name}."),
        (f"The last letter of {name} is {name[-1]}.", f"The word {name} ends in {name[-1]}."),
    ]
    if thing.colour:
        colour = thing.colour
        forms.append((f"{An} is {colour}.", f"{many} are {colour}.", f"The colour of {an} is {colour}."))
        forms.append((f"I saw a {colour} {thing.category}. It was {an}.", f"A {colour} {name} is a {thing.category}."))
    if thing.material:
        material = thing.material
        forms.append((f"{An} is made of {material}.", f"{many} are made of {material}.", f"{name}: {material}"))
        forms.append((f"This {thing.category} is made of {material}. It is {an}.",))
    if thing.place:
        place = where(thing.place)
        forms.append((f"You find {an} {place}.", f"{many} are found {place}.", f"There is {an} {place}."))
    if thing.sound:
        sound = thing.sound
        forms.append((f"{An} says {sound}.", f"The sound of {an} is {sound}.", f"{sound}, says the {name}."))
    return [random.choice(options) for options in forms]


def _one(kind: str) -> str:
    return f"{article(kind)} {kind}"


def _card(random: Random) -> str:
    """A table of things: name, kind, colour or material, place."""
    rows = []
    for thing in random.sample(things(), 5):
        known = (thing.category, thing.colour, thing.material, thing.place, thing.sound)
        rows.append(f"{thing.name}: {', '.join(fact for fact in known if fact)}")
    return "\n".join(rows)


def _members(random: Random) -> str:
    """Things that share something."""
    shared, value = random.choice(_shared_values())
    fitting = [thing for thing in things() if getattr(thing, shared) == value]
    names = [thing.name for thing in random.sample(fitting, min(len(fitting), random.randint(2, 6)))]
    title = {"category": "A kind of", "colour": "These are", "material": "Made of", "place": "Found in the"}[shared]
    others = [thing.name for thing in things() if getattr(thing, shared) != value]
    odd = f" {random.choice(others)} is not like {', '.join(names)}." if len(names) > 2 else ""
    return f"{title} {value}: {', '.join(names)}.{odd if shared == 'category' else ''}"


def _shared_values() -> list[tuple[str, str]]:
    fields = ("category", "category", "category", "colour", "material", "place")
    return [(field, value) for field in fields for value in {getattr(t, field): None for t in things()} if value]


def _list_work(random: Random) -> str:
    """A list, and what can be said of it."""
    names = _names(random, random.randint(2, 6))
    listed = ", ".join(names)
    return random.choice(
        (
            f"{listed}\nbackwards: {', '.join(reversed(names))}",
            f"From left to right: {listed}. From right to left: {', '.join(reversed(names))}.",
            f"{', '.join(sorted(names))} is the order of the alphabet.",
            f"A list of {len(names)}: {listed}",
            f"{listed}. That makes {len(names)}.",
            f"{listed}. The first one is {names[0]} and the last one is {names[-1]}.",
        )
    )


def _names(random: Random, size: int) -> list[str]:
    return [thing.name for thing in random.sample(things(), size)]


def _word_pairs(random: Random) -> str:
    """Opposites, past tenses, comparatives, units."""
    table, forms = random.choice(_PAIR_FORMS)
    pairs = random.sample(sorted(table.items()), 5)
    if table is words.ANTONYMS:
        pairs = [pair if random.random() < 0.5 else pair[::-1] for pair in pairs]
    form = random.choice(forms)
    return random.choice(("\n", " ")).join(form.format(*pair) for pair in pairs)


_PAIR_FORMS: tuple[tuple[dict[str, str], tuple[str, ...]], ...] = (
    (words.ANTONYMS, ("The opposite of {} is {}.", "{} - {}", "Not {} but {}.", "{} and {} are opposites.")),
    (words.ANTONYMS, ("The opposite of {} is {}.", "{} - {}", "What is not {} is {}.")),
    (words.PAST, ("The past tense of {} is {}.", "{}, {}", "I {} today. I {} yesterday.")),
    (words.COMPARATIVES, ("The comparative of {} is {}.", "{}, {}", "This is {}, but that is {}.")),
    (words.UNITS, ("{} stands for {}.", "{}: {}")),
    (words.MEASURES, ("A {} measures {}.", "{}: {}")),
)


def _numbers(random: Random) -> str:
    """Number words, small sums, comparing, counting."""
    form = random.choice((_number_words, _sums, _sums, _comparing, _counting, _amounts))
    return form(random)


def _number_words(random: Random) -> str:
    form = random.choice(("{} is {}.", "{}: {}", "The number {} is written {}."))
    return "\n".join(form.format(n, words.number_word(n)) for n in random.choices(range(101), k=5))


def _sums(random: Random) -> str:
    rows = []
    for _ in range(6):
        a, b = random.randint(0, 20), random.randint(0, 10)
        forms = (
            f"{a} + {b} = {a + b}",
            f"{a} plus {b} is {a + b}.",
            f"{a + b} - {b} = {a}",
            f"{a + b} minus {b} is {a}.",
        )
        rows.append(random.choice(forms))
    return "\n".join(rows)


def _comparing(random: Random) -> str:
    pairs = [sorted(random.sample(range(101), 2)) for _ in range(4)]
    form = random.choice(("{1} is larger than {0}.", "{0} is smaller than {1}.", "{0} < {1}"))
    return " ".join(form.format(*pair) for pair in pairs)


def _counting(random: Random) -> str:
    start, step = random.randint(0, 60), random.randint(1, 5)
    return ", ".join(str(start + i * step) for i in range(8))


def _amounts(random: Random) -> str:
    small, large, ratio = random.choice(words.CONVERSIONS)
    return "\n".join(f"{n} {large} are {n * ratio} {small}." for n in random.sample(range(1, 8), 3))


def _conversation(random: Random) -> str:
    """People who ask each other."""
    asked = [_asked(random) for _ in range(random.randint(2, 5))]
    form = random.choice(
        ("Q: {}\nA: {}", "Ann: {}\nBen: {}", '"{}" asked Tom. "{}," said Mia.', "Question: {} Answer: {}.", "{} {}.")
    )
    return "\n".join(form.format(*pair) for pair in asked)


def _asked(random: Random) -> tuple[str, str]:
    question = random.choice(_questions_of_all(random))
    return question.text, question.right


def _questions_of_all(random: Random) -> Sequence[Question]:
    return for_text(random.choice(list(subjects())))


def _echo(random: Random) -> str:
    """A row of words said again: from nothing else does a reader learn so fast to look back."""
    names = _names(random, random.randint(2, 6))
    return "Again and again: " + " ".join(names * random.randint(2, 4)) + "."


def _labelled(random: Random) -> str:
    """Four labelled things, then which label each has: what a four-choice test rests on."""
    names = _names(random, 4)
    label = dict(zip(names, LETTERS, strict=True))
    form = random.choice(("Choice {1} is {0}.", "The letter of {0} is {1}.", "Which is {0}? {1}", "{0}: {1}"))
    listed = "\n".join(f"{letter}. {name}" for name, letter in label.items())
    asked = random.sample(names, random.randint(2, 4))
    return listed + "\n" + "\n".join(form.format(name, label[name]) for name in asked)


def _story(random: Random) -> str:
    """A short walk past a few things."""
    place = random.choice([thing.place for thing in things() if thing.place])
    here = [thing for thing in things() if thing.place == place]
    met = random.sample(here, min(len(here), 3))
    told = " ".join(f"There was {thing.a}, {_one(_adjective(thing) + thing.category)}." for thing in met)
    past = random.choice(sorted(words.PAST.values()))
    return f"One day I {past} {where(place)}. {told} Then I {random.choice(sorted(words.PAST.values()))} home."


def _adjective(thing: Thing) -> str:
    return f"{thing.colour or thing.material} " if thing.colour or thing.material else ""


def _truths(random: Random) -> str:
    """Claims with yes or no."""
    rows = []
    for thing in random.sample(things(), 4):
        right = random.random() < 0.5
        others = [kind for kind in categories() if not too_near(kind, thing.category)]
        kind, truth = _one(thing.category if right else random.choice(others)), _one(thing.category)
        reply = f"Yes, {thing.a} is {kind}." if right else f"No, {thing.a} is {truth}."
        rows.append(
            random.choice((f"Is {thing.a} {kind}? {reply}", f"{thing.a} is {kind}: {'yes' if right else 'no'}"))
        )
    return "\n".join(rows)


def _test(random: Random) -> str:
    """A four-choice test, in MMLU's form, on questions that are not the quiz's."""
    subject = random.choice([*subjects(), "things", "things", "words", "words"])
    size = random.randint(2, 6)
    questions = _made_up(subject, size, random) if subject in ("things", "words") else _drawn(subject, size, random)
    head = f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"
    return head + "\n\n".join(as_test_item(question, random) for question in questions)


def _drawn(subject: str, size: int, random: Random) -> Iterable[Question]:
    return random.sample(for_text(subject), size)


def _made_up(subject: str, size: int, random: Random) -> Iterable[Question]:
    return [same_word(random) if subject == "words" else _which_is(random) for _ in range(size)]


def same_word(random: Random) -> Question:
    """The simplest test of all, from which a reader learns what the letters are for."""
    right, *wrong = _names(random, 4)
    return Question(f"Which choice is {right}?", right, tuple(wrong))


def _which_is(random: Random) -> Question:
    """The question from the other side: which thing has this quality."""
    shared, value = random.choice(_shared_values())
    right = random.choice([thing.name for thing in things() if getattr(thing, shared) == value])
    wrong = [thing.name for thing in things() if getattr(thing, shared) not in (value, None)]
    text = {"category": f"Which one is {_one(value)}?", "place": f"Which one is found {where(value)}?"}
    return Question(text.get(shared, f"Which one is {value}?"), right, tuple(random.sample(wrong, 3)))


def as_test_item(question: Question, random: Random) -> str:
    """A question with its answer, as MMLU writes its examples."""
    at = random.randrange(4)
    rows = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, question.choices(random, at), strict=True)]
    return "\n".join([question.text, *rows, f"Answer: {LETTERS[at]}"])


_WRITERS: dict[Writer, float] = {
    _about_a_thing: 6,
    _facts: 6,
    _card: 1,
    _members: 2,
    _list_work: 5,
    _word_pairs: 5,
    _numbers: 5,
    _conversation: 2,
    _echo: 4,
    _labelled: 4,
    _story: 0.5,
    _truths: 2,
    _test: 3,
}
