"""Questions asked more than once: inside a data set, and on both sides of a split."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from finetune.instructions import Entry
from finetune.survey.near import Near, near_duplicates, normal_form

SHOWN = 5  # examples kept of everything
Kind = Literal["same", "alike", "near"]
_KINDS: tuple[Kind, ...] = ("same", "alike", "near")


class Twins(BaseModel):
    """Two entries that ask the same, or nearly.

    Attributes:
        kind: The same question; alike, which is the same but for case, punctuation and white space; or near.
        similarity: Jaccard similarity of the questions' five-character pieces; 1 unless near.
        same_answer: Whether the expected answers are the same too.
        ids: Of both; of a leak the training entry's last.
        questions: Of both.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    similarity: float
    same_answer: bool
    ids: tuple[str, str]
    questions: tuple[str, str]


class Contradiction(BaseModel):
    """A question with several, different answers: the ids of the first entries that give them, and their answers."""

    model_config = ConfigDict(frozen=True)

    question: str
    ids: list[str]
    answers: list[str]


class Repeats(BaseModel):
    """What repeats itself in a data set.

    Attributes:
        same: Entries whose question stands in an earlier entry.
        same_answered: Those of them with the same answer as an earlier one.
        contradictions: Questions that have several, different answers.
        contradicting: The first of these.
        alike: Entries whose question is an earlier one but for case, punctuation and white space.
        near: Pairs of questions that are nearly the same.
        near_answered: Those of them whose answers are the same.
        pairs: Examples of alike and near ones, those with the same answer first.
    """

    model_config = ConfigDict(frozen=True)

    same: int = 0
    same_answered: int = 0
    contradictions: int = 0
    contradicting: list[Contradiction] = []
    alike: int = 0
    near: int = 0
    near_answered: int = 0
    pairs: list[Twins] = []


class Leak(BaseModel):
    """What a test or validation set shares with the training entries; an entry counts once.

    Attributes:
        entries: How many the set has.
        same: Of these, how many ask what a training entry asks.
        alike: How many ask it but for case, punctuation and white space.
        near: How many nearly ask it.
        near_answered: Those of the near ones whose answer is the same too.
        pairs: Examples, the worst first.
    """

    model_config = ConfigDict(frozen=True)

    entries: int
    same: int = 0
    alike: int = 0
    near: int = 0
    near_answered: int = 0
    pairs: list[Twins] = []


class Found(NamedTuple):
    """Everything that repeats, and how far it was looked for; see `Near`."""

    repeats: Repeats
    leaks: dict[str, Leak]
    near: Near


def asked(entry: Entry) -> str:
    """What users say in an entry: a system prompt that all share makes no two questions alike."""
    if not entry.messages:
        return entry.question
    return "\n".join(turn.content for turn in entry.messages if turn.role == "user")


def find_repeats(entries: Sequence[Entry], sides: Sequence[str], others: Mapping[str, Sequence[Entry]]) -> Found:
    """Look for repeated questions.

    Args:
        entries: Of the data set.
        sides: Of each entry the set it belongs to, `train` or a set beside it.
        others: Sets that have files of their own.
    """
    whole = [*entries, *(entry for kept in others.values() for entry in kept)]
    sides = [*sides, *(name for name, kept in others.items() for _ in kept)]
    found = near_duplicates([asked(entry) for entry in whole])
    answers = [_answer_form(entry.output) for entry in whole]
    world = _World(whole, answers, sides, found)
    names = [name for name in dict.fromkeys(sides) if name != "train"]
    return Found(_inside(world, len(entries)), {name: _leak(world, name) for name in sorted(names)}, found)


class _World(NamedTuple):
    entries: list[Entry]
    answers: list[str]
    sides: list[str]
    near: Near

    def twins(self, kind: Kind, a: int, b: int, similarity: float = 1.0) -> Twins:
        return Twins(
            kind=kind,
            similarity=similarity,
            same_answer=self.agree(a, b),
            ids=(self.entries[a].item_id, self.entries[b].item_id),
            questions=(asked(self.entries[a]), asked(self.entries[b])),
        )

    def contradiction(self, group: Sequence[int]) -> Contradiction:
        first = {self.answers[i]: self.entries[i] for i in reversed(group) if self.answers[i]}
        said = list(first.values())[::-1][:SHOWN]
        question, ids = asked(self.entries[group[0]]), [entry.item_id for entry in said]
        return Contradiction(question=question, ids=ids, answers=[entry.output for entry in said])

    def agree(self, a: int, b: int) -> bool:
        return bool(self.answers[a]) and self.answers[a] == self.answers[b]

    def near_pairs(self) -> Iterator[tuple[int, int, float]]:
        """Near pairs, the nearest first."""
        order = np.argsort(-self.near.similarity, kind="stable")
        columns = (self.near.first[order], self.near.second[order], self.near.similarity[order])
        return zip(*(column.tolist() for column in columns), strict=True)


def _inside(world: _World, n: int) -> Repeats:
    """What repeats itself among the first `n` entries."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for number, entry in enumerate(world.entries[:n]):
        groups[entry.prompt_hash].append(number)
    several = [group for group in groups.values() if len(group) > 1]
    differing = [group for group in several if len({world.answers[i] for i in group} - {""}) > 1]
    answered = sum(len(group) - len({world.answers[i] for i in group}) for group in several)
    alike = [group[0] for group in groups.values() if world.near.same[group[0]] != group[0]]
    near = [(a, b, s) for a, b, s in world.near_pairs() if b < n]  # of a pair `b` is the later one
    near.sort(key=lambda pair: not world.agree(*pair[:2]))
    shown = [world.twins("alike", world.near.same[i], i) for i in alike[:SHOWN]]
    return Repeats(
        same=sum(len(group) - 1 for group in several),
        same_answered=answered,
        contradictions=len(differing),
        contradicting=[world.contradiction(group) for group in differing[:SHOWN]],
        alike=len(alike),
        near=len(near),
        near_answered=sum(world.agree(a, b) for a, b, _ in near),
        pairs=[*shown, *(world.twins("near", *pair) for pair in near[:SHOWN])],
    )


def _leak(world: _World, name: str) -> Leak:
    """What the set of this name shares with the training entries."""
    own = [i for i, side in enumerate(world.sides) if side == name]
    trained = [i for i, side in enumerate(world.sides) if side == "train"]
    by_hash = {world.entries[i].prompt_hash: i for i in reversed(trained)}
    by_form = {world.near.same[i]: i for i in reversed(trained)}
    nearest = _nearest(world, own, by_form)
    found: dict[Kind, list[Twins]] = {kind: [] for kind in _KINDS}
    for i in own:
        form = world.near.same[i]
        if (there := by_hash.get(world.entries[i].prompt_hash)) is not None:
            found["same"].append(world.twins("same", i, there))
        elif (there := by_form.get(form)) is not None:
            found["alike"].append(world.twins("alike", i, there))
        elif i in nearest:
            found["near"].append(world.twins("near", i, *nearest[i]))
    found["near"].sort(key=lambda twins: (not twins.same_answer, -twins.similarity))
    return Leak(
        entries=len(own),
        same=len(found["same"]),
        alike=len(found["alike"]),
        near=len(found["near"]),
        near_answered=sum(twins.same_answer for twins in found["near"]),
        pairs=[twins for kind in _KINDS for twins in found[kind][:SHOWN]],
    )


def _nearest(world: _World, own: Sequence[int], by_form: dict[int, int]) -> dict[int, tuple[int, float]]:
    """For each of a set's entries the training entry that is nearest: with the same answer if there is one."""
    members: defaultdict[int, list[int]] = defaultdict(list)
    for i in own:
        members[world.near.same[i]].append(i)
    nearest: dict[int, tuple[int, float]] = {}
    for a, b, similarity in world.near_pairs():
        for here, there in ((a, b), (b, a)):
            if there not in by_form:
                continue
            trained = by_form[there]
            for i in members.get(here, ()):
                if i not in nearest or (world.agree(i, trained) and not world.agree(i, nearest[i][0])):
                    nearest[i] = (trained, similarity)
    return nearest


def _answer_form(text: str) -> str:
    """An answer without what does not change it: a minus sign does, so punctuation stays but for the end."""
    return " ".join(text.casefold().split()).rstrip(".!") or normal_form(text)
