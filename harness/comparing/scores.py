"""The value of every item of an evaluation, read from its records: what tables are made of."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING

from harness.records import JSON, CheckpointRecord, Evaluation, Judged, Preference, Role, Verdict
from harness.store import Run

if TYPE_CHECKING:
    from harness.comparing.matrix import Matrix

EXPECTED = "expected"  # stands for the expected answers where others name a checkpoint
EXACT = "exact"  # metric of judges that compare: whether the answer is the expected one
EVEN = 50.0  # percent of wins of whoever is compared with itself


@dataclass(frozen=True)
class Scores:
    """One checkpoint on one metric: a value for each scored item, and why the others have none.

    Attributes:
        checkpoint: Whose.
        evaluation: Where they come from.
        values: By item.
        unscored: Items without a value, by reason.
        chance: Mean of 1 / number of choices, where items have choices.
        others: The benchmark's other metrics, over all items.
        judged: What a judge said, judgment by judgment.
        anchor: Whether it is what the others were compared with, item by item: even by definition.
        parts: Of a metric that is no mean over items: what it is made of, by item; `values` is empty then.
        seeds: Of a recipe: its checkpoints, each a training with another seed; `values` are means over them.
    """

    checkpoint: CheckpointRecord
    evaluation: Evaluation
    values: dict[str, float]
    unscored: Counter[str] = field(default_factory=Counter)
    chance: float | None = None
    others: dict[str, float] = field(default_factory=dict)
    judged: Sequence[Judged] = ()
    anchor: bool = False
    parts: Mapping[str, JSON] = field(default_factory=dict)
    seeds: Sequence["Scores"] = ()

    @cached_property
    def listed(self) -> set[str]:
        """The items that it was to have a value for."""
        return {*self.evaluation.records} or {*self.values, *self.parts}


@dataclass(frozen=True)
class Family:
    """One metric of several checkpoints on one data set: what a table shows.

    Attributes:
        name: "judge" or the task.
        kind: "judge", "preference" or "benchmark".
        dataset: Label of the data set.
        role: What the data set is for.
        metric: Name of the metric.
        scale: Lowest and highest value; None without bounds.
        higher_is_better: Direction.
        scores: In the order of the table.
        clusters: What each item belongs to, such as its subject; empty where items stand for themselves.
        cluster_name: What that is: "subject".
        fixed: Whether the clusters are all there are (the subjects of a benchmark), not a sample of others.
        aggregation: Of a metric that is no mean over items: how `benchmarks.corpus` makes it of their parts.
        factor: What a number so made is multiplied by to be shown.
        known: Metrics that could be shown in place of this one.
        about: Of results made elsewhere: by field, the value of every item that has it.
    """

    name: str
    kind: str
    dataset: str
    role: Role
    metric: str
    scale: tuple[float, float] | None
    higher_is_better: bool
    scores: list[Scores]
    clusters: Mapping[str, str] = field(default_factory=dict)
    cluster_name: str = ""
    fixed: bool = True
    aggregation: str = ""
    factor: float = 1.0
    known: Sequence[str] = ()
    about: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def matrix(self) -> "Matrix":
        """The values as arrays."""
        from harness.comparing.matrix import Matrix  # numpy, which commands do without

        return Matrix(self)

    @cached_property
    def binary(self) -> bool:
        """Whether every item is simply right or wrong."""
        checked = self.kind == "judge" and (self.metric == EXACT or self.name.startswith("judge check+"))
        right_or_wrong = self.kind == "benchmark" or checked
        return (
            right_or_wrong
            and not self.aggregation
            and all(v in (0.0, 100.0) for s in self.scores for v in s.values.values())
        )


def judge_family(
    run: Run, evaluations: Sequence[Evaluation], slugs: Mapping[str, CheckpointRecord], *, metrics: Sequence[str] = ()
) -> Family:
    """Judge scores of several checkpoints on one data set, from their verdicts; `exact` where that is wanted."""
    first = evaluations[0]
    scores, scale, known = [], (0.0, 100.0), ["score"]
    for evaluation in evaluations:
        assert evaluation.judge is not None
        file = run.records(
            Verdict, "verdicts", evaluation.dataset, judge_folder(evaluation.judge), evaluation.checkpoint
        )
        verdicts = file.read()
        values, unscored = _item_values(evaluation, verdicts)
        # Of those that count: another rubric of the same name and version may have left others in the file.
        scale = next((verdicts[k].scale for keys in evaluation.records.values() for k in keys if k in verdicts), scale)
        judged = _said(evaluation, verdicts)
        scores.append(Scores(slugs[evaluation.checkpoint], evaluation, values, unscored, judged=judged))
    compared = [_exact(s) for s in scores]
    exact = all(own is not None for own in compared)
    known += [EXACT] if exact else []
    metric = next((name for name in metrics if name in known), known[0])
    if metric == EXACT:
        scores, scale = [own for own in compared if own is not None], (0.0, 100.0)
    judge = f"judge {first.judge}"
    return Family(judge, "judge", first.dataset, first.role, metric, scale, True, scores, known=known)


def _exact(scores: Scores) -> Scores | None:
    """Percent of an item's answers that are the expected one; None where the judge did not compare."""
    by_item: dict[str, list[bool]] = {}
    for one in scores.judged:
        if isinstance(one, Verdict) and one.exact is not None:
            by_item.setdefault(one.item_id, []).append(one.exact)
    if not {*scores.values} <= {*by_item}:
        return None
    return replace(scores, values={item: 100 * fmean(by_item[item]) for item in scores.values})


def preference_family(run: Run, evaluations: Sequence[Evaluation], slugs: Mapping[str, CheckpointRecord]) -> Family:
    """How often each checkpoint is preferred to one and the same other, in percent; that one is the anchor."""
    first = evaluations[0]
    scores = []
    for evaluation in evaluations:
        assert evaluation.judge is not None
        assert evaluation.against is not None
        pair = f"{evaluation.checkpoint}~{judge_folder(evaluation.against)}"
        file = run.records(Preference, "verdicts", evaluation.dataset, judge_folder(evaluation.judge), pair)
        found = file.read()
        values, unscored = _item_values(evaluation, found)
        own = Scores(slugs[evaluation.checkpoint], evaluation, values, unscored, judged=_said(evaluation, found))
        scores.append(times_100(own))
    anchor = _anchor(first, [item for s in scores for item in s.values], slugs)
    return Family(
        f"judge {first.judge}",
        "preference",
        first.dataset,
        first.role,
        "win rate",
        (0.0, 100.0),
        True,
        [anchor, *scores],
    )


def _anchor(evaluation: Evaluation, items: Iterable[str], slugs: Mapping[str, CheckpointRecord]) -> Scores:
    """What the others were compared with: as good as itself on every item."""
    against = evaluation.against or EXPECTED
    there = slugs.get(against)
    if there is None:
        name = against
        there = CheckpointRecord(name=name, slug=against, reference=against, fingerprint=against, visible=False)
    return Scores(there, evaluation, dict.fromkeys(items, EVEN), anchor=True)


def judge_folder(judge: str) -> str:
    """A judge's name as a folder: model names hold "/" and ":"."""
    return "".join(c if c.isalnum() or c in "._+-" else "-" for c in judge)


def _said(evaluation: Evaluation, records: Mapping[str, Judged]) -> list[Judged]:
    """The judgments that count, item by item."""
    return [records[key] for keys in evaluation.records.values() for key in keys if key in records]


def _item_values(evaluation: Evaluation, verdicts: Mapping[str, Judged]) -> tuple[dict[str, float], Counter[str]]:
    """The mean over an item's samples, orders and repeats, and why items have none."""
    values: dict[str, float] = {}
    unscored: Counter[str] = Counter()
    for item, keys in evaluation.records.items():
        found = [verdicts[key] for key in keys if key in verdicts]
        scores = [v.score for v in found if v.score is not None]
        if scores and len(scores) == len(keys):
            values[item] = scores[0] if len(scores) == 1 else fmean(scores)
        elif not keys:
            unscored["no answer"] += 1
        else:
            unscored[next((v.unscored for v in found if v.unscored), "not judged yet")] += 1
    return values, unscored


def times_100(scores: Scores) -> Scores:
    """Shares in percent."""
    chance = None if scores.chance is None else 100 * scores.chance
    values = {item: 100 * value for item, value in scores.values.items()}
    return replace(scores, values=values, chance=chance)
