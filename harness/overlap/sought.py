"""What is looked for: the items of a table with their questions, choices and expected answers."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from finetune.instructions import Entry, read_entries
from harness.comparing.scores import Family, Scores
from harness.records import Outcome
from harness.store import Run

_LETTERED = re.compile(r"^\s*\(?([A-Z])[.):]\s+(.*\S)\s*$", re.MULTILINE)
_BEFORE = re.compile(r"^\s*(question|q)\s*:\s*", re.IGNORECASE)
_BEHIND = re.compile(r"\s*(answer|a)\s*:?\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Sought:
    """One item.

    Attributes:
        item_id: As the evaluation lists it.
        question: What is asked, without the choices.
        choices: What there is to choose from, in words.
        expected: The expected answer in words; "" where there is none.
        letter: Of the right choice; "" where there are no choices.
    """

    item_id: str
    question: str
    choices: tuple[str, ...] = ()
    expected: str = ""
    letter: str = ""


def single(family: Family) -> list[Scores]:
    """The scores of its checkpoints, each by itself where several are taken as one recipe."""
    return [own for scores in family.scores for own in (scores.seeds or (scores,))]


def listed_in(families: Iterable[Family]) -> list[str]:
    """The items of tables, each once."""
    return [*dict.fromkeys(item for family in families for own in single(family) for item in own.evaluation.records)]


def items_in(run: Run, families: Iterable[Family]) -> list[Sought]:
    """The items of tables on one data set, each once; with an empty question where the run keeps none."""
    found: dict[str, Sought] = {}
    for family in families:
        read = _of_benchmark(run, family) if family.kind == "benchmark" else _of_entries(run, family)
        for item in read:
            before = found.get(item.item_id)
            if before is None or not before.question:
                found[item.item_id] = item
    return [*found.values()]


def _of_entries(run: Run, family: Family) -> Iterator[Sought]:
    path = run.data_file(family.dataset)
    entries = {e.item_id: e for e in read_entries(path)} if path.exists() else {}
    for item in listed_in([family]):
        entry = entries.get(item)
        yield Sought(item, _asked(entry), expected=entry.output) if entry else Sought(item, "")


def _asked(entry: Entry) -> str:
    """All that is asked, turn by turn, without the names of who speaks and what the system says."""
    if not entry.messages:
        return entry.question
    return "\n\n".join(message.content for message in entry.asked if message.role != "system")


def _of_benchmark(run: Run, family: Family) -> Iterator[Sought]:
    task = family.dataset.rpartition("-")[0]
    for scores in single(family):
        outcomes = run.records(Outcome, "outcomes", task, scores.checkpoint.slug).read()
        for item, keys in scores.evaluation.records.items():
            outcome = next((outcomes[key] for key in keys if key in outcomes), None)
            yield sought_in(item, outcome) if outcome else Sought(item, "")


def sought_in(item_id: str, outcome: Outcome) -> Sought:
    """An item as its benchmark asks it, without what only the prompt adds.

    Prompts spell choices out as "A. ...", and begin and end with "Question:" and "Answer:"; the recorded choices may be
    letters alone.
    """
    text = _BEHIND.sub("", outcome.question)
    listed = _LETTERED.findall(text)
    recorded = [choice.strip() for choice in outcome.choices or []]
    letters = "".join(letter for letter, _ in listed)
    in_order = len(listed) > 1 and letters == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(listed)]
    if recorded and in_order:
        text = text[: _LETTERED.search(text).start()]  # type: ignore[union-attr]
        recorded = [words for _, words in listed]
    expected = (outcome.expected or "").strip()
    letter = expected if len(expected) == 1 and expected.isupper() else ""
    if recorded and letter and ord(letter) - ord("A") < len(recorded):
        expected = recorded[ord(letter) - ord("A")]
    elif expected in recorded:
        letter = chr(ord("A") + recorded.index(expected)) if len(recorded) <= len("ABCDEFGHIJ") else ""
    return Sought(item_id, _BEFORE.sub("", text).strip(), tuple(recorded), expected, letter)
