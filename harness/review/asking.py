"""The questions of a review, from the material and the sample; and the labels that their answers become."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.errors import HarnessError
from harness.records import CheckpointRecord
from harness.review.keys import Keys
from harness.review.labels import PersonLabel, keep_label, kept_labels, label_key
from harness.review.material import Material
from harness.review.sampling import Drawn, Sample
from harness.review.session import Question, Session, Shown, shuffled
from harness.store import Run


@dataclass(frozen=True)
class Review:
    """One person's review of a sample.

    Attributes:
        run: Where labels are kept.
        material: What there is.
        sample: Which items.
        n: How many of them.
        rater: Who reviews.
        keys: What can be said.
    """

    run: Run
    material: Material
    sample: Sample
    n: int
    rater: str
    keys: Keys

    def begin(self) -> Session:
        """A session that goes on where this person stopped.

        Raises:
            HarnessError: If two answers are to be compared and there is one checkpoint, or labels cannot be read.
        """
        questions = [*self._questions()]
        return Session(questions, self.keys, self._keep, labelled=self._labelled(questions))

    @property
    def items(self) -> int:
        """Items asked about."""
        return len(self._drawn())

    def items_done(self, session: Session) -> int:
        """Items of which every answer asked about here has somebody's label.

        Raises:
            HarnessError: If labels cannot be read.
        """
        said = {frozenset(label.responses) for label in kept_labels(self.run)}
        open_ones = {question.item_id for question in session.questions if _responses(question) not in said}
        return len({question.item_id for question in session.questions} - open_ones)

    def _drawn(self) -> list[Drawn]:
        """The sample without items that none of the checkpoints was asked: they belong to others."""
        here = set(self.material.items)
        return [one for one in self.sample.first(self.n) if one.item_id in here]

    def _questions(self) -> Iterator[Question]:
        """Item by item, so that whoever stops early has said something of every checkpoint on the same items."""
        drawn = {one.item_id: one for one in self._drawn()}
        sides = self.sides
        for item in shuffled(drawn, f"{self.sample.seed}:{self.rater}"):
            asked = [self._question(drawn[item], side) for side in sides]
            there = {question.key: question for question in asked if question}
            yield from (there[key] for key in shuffled(there, self.rater))

    @property
    def sides(self) -> list[tuple[CheckpointRecord, ...]]:
        """Whose answers a question shows: each checkpoint's by itself; in pairs each with the baseline's.

        Raises:
            HarnessError: If there is one checkpoint where two are needed.
        """
        base, *others = self.material.checkpoints
        if not self.keys.pairs:
            return [(one,) for one in self.material.checkpoints]
        if not others:
            raise HarnessError(f"--pairs: wanted two checkpoints, found {base.name} alone; name another one")
        return [(one, base) for one in others]

    def _question(self, drawn: Drawn, side: Sequence[CheckpointRecord]) -> Question | None:
        """None where one of them did not answer."""
        material, item = self.material, drawn.item_id
        found = [material.answers[c.slug].get(item) for c in side]
        answers = [Shown(c.slug, a.key, a.text) for c, a in zip(side, found, strict=True) if a]
        if len(answers) < len(side):
            return None
        key = label_key(material.dataset, item, self.rater, *(c.fingerprint for c in side))
        swapped = len(side) > 1 and shuffled(["as named", "swapped"], f"{self.rater}:{key}")[0] == "swapped"
        entry = material.entries.get(item)
        return Question(
            key=key,
            item_id=item,
            instruction=entry.question if entry else "(the run keeps no copy of this item)",
            expected=entry.output if entry else "",
            answers=tuple(reversed(answers)) if swapped else tuple(answers),
            probability=drawn.probability,
            swapped=swapped,
        )

    def _labelled(self, questions: Sequence[Question]) -> list[str]:
        """What this person said before of these very answers; of an answer that has changed since it is asked again."""
        said = {label.key: label for label in kept_labels(self.run)}
        there = [said[q.key] for q in questions if q.key in said and {*said[q.key].responses} == _responses(q)]
        return [label.key for label in sorted(there, key=lambda label: label.created)]

    def _keep(self, question: Question, score: float | None, note: str) -> None:
        by_slug = {c.slug: c for c in self.material.checkpoints}
        answers = question.answers[::-1] if question.swapped else question.answers
        one, *others = [by_slug[answer.slug] for answer in answers]
        label = PersonLabel(
            key=question.key,
            item_id=question.item_id,
            checkpoint=one.fingerprint,
            name=one.name,
            dataset=self.material.dataset,
            rater=self.rater,
            scale=self.keys.scale,
            score=score,
            other=others[0].fingerprint if others else "",
            other_name=others[0].name if others else "",
            responses=tuple(answer.response for answer in answers),
            note=note,
            probability=question.probability,
            sample=self.sample.key,
            drawn=self.n,
            seed=self.sample.seed,
        )
        keep_label(self.run, label)


def _responses(question: Question) -> set[str]:
    return {answer.response for answer in question.answers}
