"""The labels of a run that are of a table's answers, as numbers from 0 to 1 beside the judge's items."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from harness.comparing.scores import Family, Scores
from harness.records import CheckpointRecord, Preference, Verdict
from harness.review.labels import PersonLabel, kept_labels, labels_path
from harness.review.material import SAMPLES
from harness.review.sampling import Sample
from harness.store import Run

Mean = dict[str, float]  # by item, over raters

ELSEWHERE = "of checkpoints or items that are not in this table"
OTHER_DATA = "of another data set"
CHANGED = "of answers that have changed since"
OFF_SCALE = "off the judge's scale, and none of their own is given"


@dataclass(frozen=True)
class Said:
    """What people said of the checkpoints of a table; from 0, the worst, to 1.

    Attributes:
        scores: Of single answers: by slug, then by item.
        wins: Of two: by slugs of both, then by item; 1 where the first is better. Each pair once, either way round.
        sample: What the items were drawn in; None where nobody drew them.
        strata: Stratum of every item of the sample, drawn or not, numbered so that neighbours are alike.
        drawn: Items that were to be labelled: those a correction rests on.
        raters: Who labelled.
        labels: Labels that count.
        scales: Theirs, where they say one.
        passed_over: Labels that do not count, by reason.
        by_hand: Labels of items that were not drawn at random.
    """

    scores: Mapping[str, Mean]
    wins: Mapping[tuple[str, str], Mean]
    sample: Sample | None = None
    strata: Mapping[str, int] = field(default_factory=dict)
    drawn: frozenset[str] = frozenset()
    raters: Sequence[str] = ()
    labels: int = 0
    scales: Sequence[tuple[float, float]] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)
    by_hand: int = 0

    def win(self, one: str, other: str) -> Mean:
        """How often `one` is preferred to `other`, whichever was named first; from scores where no two were compared.

        Args:
            one: Slug.
            other: Slug.
        """
        if (one, other) in self.wins:
            return self.wins[one, other]
        if (other, one) in self.wins:
            return {item: 1 - value for item, value in self.wins[other, one].items()}
        return preferred(self.scores.get(one, {}), self.scores.get(other, {}))


def preferred(one: Mapping[str, float], other: Mapping[str, float]) -> Mean:
    """1 where the first value is larger, 0.5 where they are the same, on the items of both."""
    return {item: (1 + (one[item] > other[item]) - (one[item] < other[item])) / 2 for item in one if item in other}


def said_of(run: Run, family: Family) -> Said | None:
    """What people said of a table's answers; None where the run has no labels.

    Several people's labels of the same count as their mean.

    Raises:
        HarnessError: If the labels cannot be read.
    """
    if not labels_path(run).exists():
        return None
    matched = _Matched(family)
    for label in kept_labels(run):
        matched.take(label)
    sample = _sample(run, matched.labels, family.dataset)
    strata: dict[str, int] = {}
    if sample:
        strata = {item: n for n, items in enumerate(sample.strata.values()) for item in items}
    return Said(
        scores={slug: _means(own) for slug, own in matched.scores.items()},
        wins={pair: _means(own) for pair, own in matched.wins.items()},
        sample=sample,
        strata=strata,
        drawn=_drawn(sample, matched.labels),
        raters=sorted({label.rater for label in matched.labels}),
        labels=len(matched.labels),
        scales=sorted({label.scale for label in matched.labels if label.scale and not label.other}),
        passed_over=dict(matched.passed_over),
        by_hand=sum(label.probability is None for label in matched.labels),
    )


class _Matched:
    """Labels as they are matched to a table, one by one."""

    def __init__(self, family: Family) -> None:
        there = [s for s in family.scores if s.checkpoint.fingerprint]
        self._family = family
        self._slugs = {name: s.checkpoint.slug for s in there for name in _called(s.checkpoint)}
        self._items = {item for s in there for item in (*s.listed, *s.values)}
        self._responses = {s.checkpoint.slug: _responses(s) for s in there}
        for scores in there:
            for slug, answers in _rivals(scores, self._slugs).items():
                self._responses.setdefault(slug, {})
                for item, keys in answers.items():
                    self._responses[slug].setdefault(item, set()).update(keys)
        self.scores: dict[str, dict[str, list[float]]] = {}
        self.wins: dict[tuple[str, str], dict[str, list[float]]] = {}
        self.labels: list[PersonLabel] = []
        self.passed_over: Counter[str] = Counter()

    def take(self, label: PersonLabel) -> None:
        """Count a label, or say why not."""
        slugs = [self._slugs.get(name, "") for name in (label.checkpoint, label.other) if name]
        if label.dataset not in ("", self._family.dataset):
            self.passed_over[OTHER_DATA] += 1
        elif not all(slugs) or label.item_id not in self._items:
            self.passed_over[ELSEWHERE] += 1
        elif not self._on_scale(label):
            self.passed_over[OFF_SCALE] += 1
        elif not self._still_there(label, slugs):
            self.passed_over[CHANGED] += 1
        else:
            self.labels.append(label)
            self._count(label, slugs)

    def _on_scale(self, label: PersonLabel) -> bool:
        """Labels of a review have their own scale; of others nothing is guessed."""
        low, high = self._family.scale or (0.0, 100.0)
        return bool(label.scale or label.other) or (label.score is not None and low <= label.score <= high)

    def _still_there(self, label: PersonLabel, slugs: Sequence[str]) -> bool:
        """Whether the answers are those that the judge saw; where either does not say which, they are taken to be."""
        known = [self._responses.get(slug, {}).get(label.item_id) for slug in slugs]
        return all(not keys or key in keys for key, keys in zip(label.responses, known, strict=False))

    def _count(self, label: PersonLabel, slugs: Sequence[str]) -> None:
        assert label.score is not None
        low, high = label.scale or ((0.0, 1.0) if label.other else self._family.scale or (0.0, 100.0))
        value = (label.score - low) / (high - low)
        if not label.other:
            self.scores.setdefault(slugs[0], {}).setdefault(label.item_id, []).append(value)
            return
        one, other = slugs
        if (other, one) in self.wins:
            one, other, value = other, one, 1 - value
        self.wins.setdefault((one, other), {}).setdefault(label.item_id, []).append(value)


def _called(checkpoint: CheckpointRecord) -> Iterator[str]:
    """What labels may call it; those of a review have the fingerprint."""
    yield from (checkpoint.name, checkpoint.slug, checkpoint.fingerprint)


def _responses(scores: Scores) -> dict[str, set[str]]:
    """Keys of the answers that were judged, by item."""
    found: dict[str, set[str]] = {}
    for one in scores.judged:
        if isinstance(one, Verdict):
            found.setdefault(one.item_id, set()).add(one.response)
        elif isinstance(one, Preference):
            found.setdefault(one.item_id, set()).add(one.responses[0])
    return found


def _rivals(scores: Scores, slugs: Mapping[str, str]) -> dict[str, dict[str, set[str]]]:
    """The same of those that they were compared with."""
    found: dict[str, dict[str, set[str]]] = {}
    for one in scores.judged:
        if isinstance(one, Preference) and one.other in slugs:
            found.setdefault(slugs[one.other], {}).setdefault(one.item_id, set()).add(one.responses[1])
    return found


def _means(values: Mapping[str, Sequence[float]]) -> Mean:
    return {item: fmean(own) for item, own in values.items()}


def _sample(run: Run, labels: Iterable[PersonLabel], dataset: str) -> Sample | None:
    """The recorded sample that most labels were drawn in."""
    counts = Counter(label.sample for label in labels if label.sample and label.probability is not None)
    recorded = run.records(Sample, SAMPLES).read()
    known = [key for key, _ in counts.most_common() if key in recorded and recorded[key].dataset == dataset]
    return recorded[known[0]] if known else None


def _drawn(sample: Sample | None, labels: Iterable[PersonLabel]) -> frozenset[str]:
    """The items that were to be labelled, in the largest sample asked for."""
    if sample is None:
        return frozenset()
    n = max((label.drawn for label in labels if label.sample == sample.key), default=0)
    return frozenset(one.item_id for one in sample.first(n))
