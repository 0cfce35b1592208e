"""Responses to preferences: a judge compares the answers of two checkpoints, always in both orders."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from finetune.instructions import DataSet, Entry
from harness.comparing.scores import EXPECTED, judge_folder
from harness.judging.judgments import Batch, Order, Wanted, settings_in, told
from harness.records import CheckpointRecord, Evaluation, Preference, Response
from harness.store import record_key

if TYPE_CHECKING:
    from judges.base import Judgment

ORDERS: tuple[Literal["AB", "BA"], ...] = ("AB", "BA")


@dataclass(frozen=True)
class Rival:
    """Whom the others are compared with.

    Attributes:
        slug: Of the checkpoint; `EXPECTED` where it is the expected answer.
        fingerprint: The same.
        name: For people.
        answered: Its answers; None where it is the expected answer.
    """

    slug: str
    fingerprint: str
    name: str
    answered: Evaluation | None


EXPECTED_ANSWERS = Rival(EXPECTED, EXPECTED, "the expected answers", None)


def preferences_wanted(
    order: Order, checkpoint: CheckpointRecord, data: DataSet, answered: Evaluation, rival: Rival
) -> Batch[Preference]:
    """The preferences between a checkpoint's answers and a rival's, and which of them are still to be made.

    Args:
        order: Who judges: one that compares.
        checkpoint: Whose answers, as the run knows it.
        data: The entries.
        answered: The evaluation that collected the checkpoint's answers.
        rival: The other side; the n-th sample is compared with its n-th, or its first where it has fewer.
    """
    pair = f"{checkpoint.slug}~{judge_folder(rival.slug)}"
    file = order.run.records(Preference, "verdicts", data.label, judge_folder(order.shown), pair)
    wanted = [*_wanted(order, checkpoint, data, answered, rival)]
    return order.batch(checkpoint, answered, file, wanted, against=rival.slug)


def _wanted(
    order: Order, checkpoint: CheckpointRecord, data: DataSet, answered: Evaluation, rival: Rival
) -> Iterator[Wanted[Preference]]:
    own = order.run.records(Response, "responses", data.label, answered.checkpoint).read()
    others = order.run.records(Response, "responses", data.label, rival.slug).read() if rival.answered else {}
    for entry in data.evaluated:
        mine = _texts(answered.records.get(entry.item_id, []), own)
        theirs = _of_rival(entry, rival, others)
        for sample, (key, text) in enumerate(mine):
            if not theirs:
                continue
            other_key, other_text = theirs[sample] if sample < len(theirs) else theirs[0]
            pair = _Pair(entry, sample, (key, other_key), (text, other_text))
            yield from _both_orders(order, pair, checkpoint, rival)


def _texts(keys: Sequence[str], responses: Mapping[str, Response]) -> list[tuple[str, str]]:
    there = (responses.get(key) for key in keys)
    return [(r.key, r.text) for r in there if r is not None and r.text is not None]


def _of_rival(entry: Entry, rival: Rival, responses: Mapping[str, Response]) -> list[tuple[str, str]]:
    if rival.answered is None:
        return [(EXPECTED, entry.output)] if entry.output else []
    return _texts(rival.answered.records.get(entry.item_id, []), responses)


@dataclass(frozen=True)
class _Pair:
    """A sample of the checkpoint's and the rival's answers to an entry: keys and texts."""

    entry: Entry
    sample: int
    keys: tuple[str, str]
    texts: tuple[str, str]


def _both_orders(order: Order, pair: _Pair, checkpoint: CheckpointRecord, rival: Rival) -> Iterator[Wanted[Preference]]:
    from judges.base import Submission

    own, other = pair.texts
    judge = order.judge

    def keeping(way: Literal["AB", "BA"]) -> "Callable[[Wanted[Preference], Judgment], Preference]":
        def keep(one: Wanted[Preference], judgment: "Judgment") -> Preference:
            found = told(one, judgment, judge)
            if way == "BA":
                found |= {"score": _turned(judgment.score), "written": _turned(judgment.written)}
            return Preference(
                **found,
                checkpoint=checkpoint.fingerprint,
                other=rival.fingerprint,
                order=way,
                responses=pair.keys,
                lengths=(len(own), len(other)),
            )

        return keep

    for way in ORDERS:
        first, second = (own, other) if way == "AB" else (other, own)
        submission = Submission(instruction=pair.entry.question, expected=pair.entry.output, answer=first, rival=second)
        for repeat in range(order.repeats):
            request = judge.request(submission, repeat=repeat)
            key = record_key(
                judge=judge.fingerprint,
                rubric=judge.rubric,
                request=request,
                item=pair.entry.item_id,
                sample=pair.sample,
                order=way,
                repeat=repeat,
            )
            yield Wanted(submission, pair.entry.item_id, key, repeat, keeping(way), settings_in(request))


def _turned(score: float | None) -> float | None:
    """How much the checkpoint's answer is preferred, where it was shown second."""
    return None if score is None else 1.0 - score
