"""The value of every item of an evaluation, read from its records: what tables are made of."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from harness.records import CheckpointRecord, Evaluation, Judged, Outcome, Preference, Role, Verdict
from harness.store import Run

# Metrics that are no shares of anything, whatever their values happen to be.
_UNBOUNDED = re.compile(r"perplexity|bits|brier|loglikelihood|likelihood_diff")

EXPECTED = "expected"  # stands for the expected answers where others name a checkpoint
EVEN = 50.0  # percent of wins of whoever is compared with itself

# Aggregations over all items that give a share.
_SHARES = {"f1_score", "agg_inst_level_acc"}


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
    """

    checkpoint: CheckpointRecord
    evaluation: Evaluation
    values: dict[str, float]
    unscored: Counter[str] = field(default_factory=Counter)
    chance: float | None = None
    others: dict[str, float] = field(default_factory=dict)
    judged: Sequence[Judged] = ()
    anchor: bool = False


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
    """

    name: str
    kind: str
    dataset: str
    role: Role
    metric: str
    scale: tuple[float, float] | None
    higher_is_better: bool
    scores: list[Scores]

    @property
    def binary(self) -> bool:
        """Whether every item is simply right or wrong."""
        checked = self.kind == "judge" and self.name.startswith("judge check+")
        right_or_wrong = self.kind == "benchmark" or checked
        return right_or_wrong and all(v in (0.0, 100.0) for s in self.scores for v in s.values.values())


def judge_family(run: Run, evaluations: Sequence[Evaluation], slugs: dict[str, CheckpointRecord]) -> Family:
    """Judge scores of several checkpoints on one data set, from their verdicts."""
    first = evaluations[0]
    scores, scale = [], (0.0, 100.0)
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
    return Family(f"judge {first.judge}", "judge", first.dataset, first.role, "score", scale, True, scores)


def preference_family(run: Run, evaluations: Sequence[Evaluation], slugs: dict[str, CheckpointRecord]) -> Family:
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
        scores.append(_times_100(own))
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


def _anchor(evaluation: Evaluation, items: Iterable[str], slugs: dict[str, CheckpointRecord]) -> Scores:
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
            values[item] = fmean(scores)
        elif not keys:
            unscored["no answer"] += 1
        else:
            unscored[next((v.unscored for v in found if v.unscored), "not judged yet")] += 1
    return values, unscored


def benchmark_family(run: Run, evaluations: Sequence[Evaluation], slugs: dict[str, CheckpointRecord]) -> Family:
    """The main metric of a benchmark on several checkpoints, from their outcomes; shares in percent."""
    first = evaluations[0]
    task = first.dataset.rpartition("-")[0]
    metric, higher = "", True
    scores = []
    for evaluation in evaluations:
        outcomes = run.records(Outcome, "outcomes", task, evaluation.checkpoint).read()
        found = {item: outcomes[key] for item, (key,) in evaluation.records.items() if key in outcomes}
        metric = metric or _main_metric(found.values())
        values = {item: o.metrics[metric] for item, o in found.items() if metric in o.metrics}
        higher = next((o.higher_is_better.get(metric, True) for o in found.values()), True)
        unscored = Counter({"no outcome": len(evaluation.records) - len(found)})
        unscored["no value for one item"] = len(found) - len(values)
        others = _other_metrics(evaluation, found.values(), metric)
        scores.append(
            Scores(slugs[evaluation.checkpoint], evaluation, values, +unscored, _chance(found.values()), others)
        )
    within_one = _are_shares(metric, (v for s in scores for v in s.values.values()))
    if within_one:  # shares are shown in percent, as leaderboards do
        scores = [_times_100(s) for s in scores]
    scale = (0.0, 100.0) if within_one else None
    return Family(task, "benchmark", first.dataset, first.role, metric, scale, higher, scores)


def _main_metric(outcomes: Iterable[Outcome]) -> str:
    """What the task is known by; see `benchmarks.index.task_presets`."""
    from benchmarks.index.task_presets import main_metric

    first = next((o for o in outcomes if o.metrics), None)
    return main_metric(first.task, first.metrics) if first else ""


def _other_metrics(evaluation: Evaluation, outcomes: Iterable[Outcome], main: str) -> dict[str, float]:
    """Metrics beside the main one: those over all items that are no mean, and one task's means; shares in percent."""
    outcomes = list(outcomes)
    tasks = {o.task for o in outcomes}
    prefix = {task: f"{task} " if len(tasks) > 1 else "" for task in tasks}
    found = {
        prefix.get(c.task, "") + c.metric: c.value * (100 if c.aggregation in _SHARES else 1)
        for c in evaluation.corpus
        if c.value is not None
    }
    if len(tasks) == 1:
        names = dict.fromkeys(name for o in outcomes for name in o.metrics if name != main and name not in found)
        values = {name: [o.metrics[name] for o in outcomes if name in o.metrics] for name in names}
        found |= {name: fmean(own) * (100 if _are_shares(name, own) else 1) for name, own in values.items()}
    return found


def _are_shares(metric: str, values: Iterable[float]) -> bool:
    return not _UNBOUNDED.search(metric) and all(0 <= v <= 1 for v in values)


def _chance(outcomes: Iterable[Outcome]) -> float | None:
    shares = [1 / len(o.choices) for o in outcomes if o.choices]
    return fmean(shares) if shares else None


def _times_100(scores: Scores) -> Scores:
    chance = None if scores.chance is None else 100 * scores.chance
    values = {item: 100 * value for item, value in scores.values.items()}
    return replace(scores, values=values, chance=chance)
