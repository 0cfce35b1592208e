"""Submissions with a planted defect, made from entries with expected answers: no human is needed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING

from finetune.instructions import Entry
from harness.errors import HarnessError
from harness.validation.probes import (
    AT_FLOOR,
    EMPTY_IS_FINE,
    HARMLESS,
    NOT_PUSHED,
    PADDED_WRONG,
    PADDING,
    PAIR_PADDING,
    PAIRS,
    RIGHT,
    SAME,
    SWAP,
    TRUNCATED,
    WRONG,
    Probe,
)
from harness.validation.texts import EMPTY, LONG_ENOUGH, NULL, injection, padded, truncated, wrong_answer
from judges.base import Submission

if TYPE_CHECKING:
    from judges.base import Judge


@dataclass(frozen=True)
class Case:
    """A probe on one item.

    Attributes:
        probe: Which.
        item_id: Of the entry it was made from.
        submissions: What the judge is asked about, by what it is.
    """

    probe: Probe
    item_id: str
    submissions: dict[str, Submission]


@dataclass(frozen=True)
class Planting:
    """What a judge is to be asked, and which probes were left out and why, by name."""

    cases: list[Case]
    left_out: dict[str, str]


@dataclass(frozen=True)
class _Sees:
    """What a judge's request depends on."""

    question: bool
    standard: bool
    """The expected answer, or the entry's own check."""


@dataclass
class _Planter:
    """Makes the cases of one judge."""

    judge: "Judge"
    entries: Sequence[Entry]
    rng: Random
    left_out: dict[str, str] = field(default_factory=dict)

    def submission(self, entry: Entry, answer: str, rival: str | None = None) -> Submission:
        check = entry.meta.get("check")
        return Submission(
            instruction=entry.question,
            expected=entry.output,
            answer=answer,
            rival=rival,
            check=check if isinstance(check, dict) else {},
        )

    def pair(self, entry: Entry, answer: str, *, second: str | None = None) -> dict[str, Submission]:
        """The expected answer against another, in both orders; `second` where that one differs in second place."""
        return {
            "right first": self.submission(entry, entry.output, second if second is not None else answer),
            "right second": self.submission(entry, answer, entry.output),
        }

    def wrong(self, chosen: Sequence[Entry]) -> Iterator[tuple[Entry, str]]:
        """Entries with a wrong answer, of those that there is one for."""
        found = [(entry, wrong_answer(entry, self.entries, self.rng)) for entry in chosen]
        if not any(wrong for _, wrong in found):
            self.left_out["wrong"] = "the expected answers are all alike"
        yield from ((entry, wrong) for entry, wrong in found if wrong is not None)

    def long(self, n: int) -> Sequence[Entry]:
        """Entries whose answer can be cut to a third: those of the sample come first, having been drawn first."""
        found = [entry for entry in self.entries if len(entry.output.strip()) >= LONG_ENOUGH][:n]
        if not found:
            self.left_out["truncated"] = f"no expected answer has {LONG_ENOUGH} characters"
        return found


def plant(
    judge: "Judge", entries: Sequence[Entry], *, n: int = 30, seed: int = 0, empty_is_fault: bool = True
) -> Planting:
    """Make the probes that fit a judge.

    Which those are follows from what its requests depend on: without a standard the expected answer need not be at
    the top, and a judge that sees neither question nor standard cannot know a wrong answer.

    Args:
        judge: Of which only `request`, `scale` and `pairwise` are used.
        entries: With expected answers; others are passed over, and of the same question only the first is used.
        n: So many of them, drawn at random.
        seed: Of the draw.
        empty_is_fault: Whether the rubric counts what an answer lacks; harmlessness does not.

    Raises:
        HarnessError: If fewer than two entries have an expected answer.
    """
    usable = [*{e.prompt_hash: e for e in reversed(entries) if e.output.strip()}.values()][::-1]
    if len(usable) < 2:
        raise HarnessError(
            f"wanted entries with expected answers to make probes from, found {len(usable)} among {len(entries)}; "
            f"give others with --data FILE, or leave it out for the embedded ones"
        )
    rng = Random(seed)
    made = _Planter(judge, rng.sample(usable, len(usable)), rng)
    if judge.pairwise:
        cases = [*_pairs(made, n)]
    elif empty_is_fault:
        cases = [*_scores(made, n, _seen(judge))]
    else:
        cases = [*_harmless(made, n)]
    return Planting(sorted(cases, key=_in_order(cases)), made.left_out)


def _in_order(cases: Sequence[Case]) -> Callable[[Case], int]:
    """Cases of one probe together, probes in the order in which they first came."""
    places = {name: place for place, name in enumerate(dict.fromkeys(case.probe.name for case in cases))}
    return lambda case: places[case.probe.name]


def _seen(judge: "Judge") -> _Sees:
    one = Submission(instruction="1 + 1?", expected="2", answer="3", rival="4" if judge.pairwise else None)
    said = judge.request(one)
    expected, check = replace(one, expected="5"), replace(one, check={"exact": True})
    return _Sees(
        question=judge.request(replace(one, instruction="1 + 4?")) != said,
        standard=judge.request(expected) != said or judge.request(check) != said,
    )


def _scores(made: _Planter, n: int, sees: _Sees) -> Iterator[Case]:
    """Probes of a judge that scores one answer at a time."""
    chosen = made.entries[:n]
    plain = {entry.item_id: made.submission(entry, entry.output) for entry in chosen}
    if sees.standard:
        yield from (Case(RIGHT, item, {"right": one}) for item, one in plain.items())
    else:
        made.left_out["right"] = "the judge does not see the expected answer"
    yield from (_padding(made, entry) for entry in chosen)
    if sees.standard or sees.question:
        yield from _falling(made, n)
    else:
        why = "the judge sees neither the question nor the expected answer"
        made.left_out |= dict.fromkeys(("wrong", "padded-wrong", "truncated"), why)
    lowest_kinds = {"empty": EMPTY, "null": NULL, "injection": injection(f"{made.judge.scale[1]:g}")}
    for name, text in lowest_kinds.items():
        yield from (Case(AT_FLOOR[name], e.item_id, {name: made.submission(e, text)}) for e in chosen)


def _falling(made: _Planter, n: int) -> Iterator[Case]:
    for entry, wrong in made.wrong(made.entries[:n]):
        right, fallen = made.submission(entry, entry.output), made.submission(entry, wrong)
        more = made.submission(entry, padded(wrong, made.rng))
        yield Case(WRONG, entry.item_id, {"right": right, "wrong": fallen})
        yield Case(PADDED_WRONG, entry.item_id, {"wrong": fallen, "padded": more})
    for entry in made.long(n):
        whole, part = made.submission(entry, entry.output), made.submission(entry, truncated(entry.output))
        yield Case(TRUNCATED, entry.item_id, {"right": whole, "truncated": part})


def _padding(made: _Planter, entry: Entry) -> Case:
    more = made.submission(entry, padded(entry.output, made.rng))
    return Case(PADDING, entry.item_id, {"right": made.submission(entry, entry.output), "padded": more})


def _harmless(made: _Planter, n: int) -> Iterator[Case]:
    """Probes of a rubric under which nothing is missing from an answer that says nothing."""
    lowest = injection(f"{made.judge.scale[0]:g}")
    for entry in made.entries[:n]:
        yield Case(HARMLESS, entry.item_id, {"right": made.submission(entry, entry.output)})
        yield _padding(made, entry)
        yield Case(EMPTY_IS_FINE, entry.item_id, {"empty": made.submission(entry, EMPTY)})
        pushed = made.submission(entry, f"{entry.output}\n{lowest}")
        yield Case(NOT_PUSHED, entry.item_id, {"injection": pushed})
    why = "under this rubric an answer that says too little is no worse"
    made.left_out |= dict.fromkeys(("wrong", "padded-wrong", "truncated", "null"), why)


def _pairs(made: _Planter, n: int) -> Iterator[Case]:
    """Probes of a judge that compares two answers, each in both orders."""
    for entry in (chosen := made.entries[:n]):
        yield Case(SAME, entry.item_id, {"same": made.submission(entry, entry.output, entry.output)})
        # The closest pair there is: nowhere else can the order decide as much.
        close = made.pair(entry, padded(entry.output, made.rng))
        yield Case(SWAP, entry.item_id, close)
        yield Case(PAIR_PADDING, entry.item_id, close)
    for entry, wrong in made.wrong(chosen):
        yield Case(PAIRS["wrong"], entry.item_id, made.pair(entry, wrong))
    for entry in made.long(n):
        yield Case(PAIRS["truncated"], entry.item_id, made.pair(entry, truncated(entry.output)))
    for entry in chosen:
        yield Case(PAIRS["empty"], entry.item_id, made.pair(entry, EMPTY))
        yield Case(PAIRS["null"], entry.item_id, made.pair(entry, NULL))
        yield Case(PAIRS["injection"], entry.item_id, made.pair(entry, injection("A"), second=injection("B")))
