"""A benchmark's metric on several checkpoints, from the outcomes of its items."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from harness.comparing.scores import Family, Scores, times_100
from harness.records import CheckpointRecord, CorpusValue, Evaluation, Outcome
from harness.store import Run

# Metrics that are no shares of anything, whatever their values happen to be.
_UNBOUNDED = re.compile(r"perplexity|bits|brier|loglikelihood|likelihood_diff")

# Aggregations over all items that are shown in percent: shares, and the correlation that GLUE gives so.
_IN_PERCENT = {"f1_score": (0.0, 100.0), "agg_inst_level_acc": (0.0, 100.0), "matthews_corrcoef": (-100.0, 100.0)}
SUBJECT = "subject"

Found = Sequence[tuple[Evaluation, Mapping[str, Outcome]]]


def benchmark_family(
    run: Run,
    evaluations: Sequence[Evaluation],
    slugs: Mapping[str, CheckpointRecord],
    *,
    metrics: Sequence[str] = (),
) -> Family:
    """One metric of a benchmark on several checkpoints; shares in percent.

    Args:
        run: Where the outcomes are.
        evaluations: Of one benchmark, one of each checkpoint.
        slugs: The checkpoints.
        metrics: Which to take, the first that there is; the one the task is known by when there is none of them.
    """
    task = evaluations[0].dataset.rpartition("-")[0]
    return family_of(task, [(e, _outcomes(run, task, e)) for e in evaluations], slugs, metrics=metrics)


def family_of(task: str, found: Found, slugs: Mapping[str, CheckpointRecord], *, metrics: Sequence[str] = ()) -> Family:
    """The same of outcomes that have been read, or that were made elsewhere."""
    corpus = _over_all(found)
    items = dict.fromkeys(name for _, outcomes in found for o in outcomes.values() for name in o.metrics)
    known = (*items, *corpus)
    metric = next((name for name in metrics if name in known), "") or _main_metric(found, items, corpus)
    if metric in corpus:  # the number people mean, where items have one of their own too
        family = _corpus_family(task, found, slugs, corpus[metric])
    else:
        family = _mean_family(task, found, slugs, metric)
    family = replace(family, known=known)
    subjects = {item: o.subject for _, outcomes in found for item, o in outcomes.items()}
    several = len(set(subjects.values())) > 1
    return replace(family, clusters=subjects, cluster_name=SUBJECT) if several else family


def _over_all(found: Found) -> dict[str, CorpusValue]:
    """Metrics over all items that can be made again; not those that several tasks make each for itself."""
    from benchmarks.corpus import AGGREGATIONS

    everywhere = [c for evaluation, _ in found for c in evaluation.corpus if c.aggregation in AGGREGATIONS]
    tasks: dict[str, set[str]] = {}
    for one in everywhere:
        tasks.setdefault(one.metric, set()).add(one.task)
    return {one.metric: one for one in everywhere if len(tasks[one.metric]) == 1}


def _outcomes(run: Run, task: str, evaluation: Evaluation) -> dict[str, Outcome]:
    """By item."""
    outcomes = run.records(Outcome, "outcomes", task, evaluation.checkpoint).read()
    return {item: outcomes[key] for item, (key,) in evaluation.records.items() if key in outcomes}


def _mean_family(task: str, found: Found, slugs: Mapping[str, CheckpointRecord], metric: str) -> Family:
    """A metric that every item has for itself."""
    first, scores = found[0][0], []
    for evaluation, outcomes in found:
        there = {item: o.metrics[metric] for item, o in outcomes.items() if metric in o.metrics}
        values = {item: value for item, value in there.items() if math.isfinite(value)}
        unscored = _missing(evaluation, outcomes)
        unscored["no value for one item"] = len(outcomes) - len(there)
        unscored["not a finite number"] = len(there) - len(values)
        others = _other_metrics(evaluation, outcomes.values(), metric)
        of_whom = slugs[evaluation.checkpoint]
        scores.append(Scores(of_whom, evaluation, values, +unscored, _chance(outcomes.values()), others))
    within_one = _are_shares(metric, (v for s in scores for v in s.values.values()))
    if within_one:  # shares are shown in percent, as leaderboards do
        scores = [times_100(s) for s in scores]
    scale = (0.0, 100.0) if within_one else None
    everything = (o for _, outcomes in found for o in outcomes.values())
    higher = next((o.higher_is_better[metric] for o in everything if metric in o.higher_is_better), True)
    return Family(task, "benchmark", first.dataset, first.role, metric, scale, higher, scores)


def _corpus_family(task: str, found: Found, slugs: Mapping[str, CheckpointRecord], corpus: CorpusValue) -> Family:
    """A metric that exists only over many items, from what was kept of each.

    Raises:
        HarnessError: If the aggregation is the task's own, so that nothing can be said of its error.
    """
    metric, first, scores = corpus.metric, found[0][0], []
    for evaluation, outcomes in found:
        parts = {item: o.parts[metric] for item, o in outcomes.items() if metric in o.parts}
        unscored = _missing(evaluation, outcomes)
        unscored["no value for one item"] = len(outcomes) - len(parts)
        others = _other_metrics(evaluation, outcomes.values(), metric)
        scores.append(Scores(slugs[evaluation.checkpoint], evaluation, {}, +unscored, None, others, parts=parts))
    scale = _IN_PERCENT.get(corpus.aggregation)
    return Family(
        task,
        "benchmark",
        first.dataset,
        first.role,
        metric,
        scale,
        corpus.higher_is_better,
        scores,
        aggregation=corpus.aggregation,
        factor=100.0 if scale else 1.0,
    )


def _missing(evaluation: Evaluation, outcomes: Mapping[str, Outcome]) -> Counter[str]:
    return Counter({"no outcome": len(evaluation.records) - len(outcomes)})


def _main_metric(found: Found, items: Iterable[str], over_all: Iterable[str]) -> str:
    """What the task is known by (see `benchmarks.index.task_presets`); one over all items where items have none."""
    from benchmarks.index.task_presets import main_metric

    task = next((o.task for _, outcomes in found for o in outcomes.values()), "")
    return main_metric(task, [*items, *over_all])


def _other_metrics(evaluation: Evaluation, outcomes: Iterable[Outcome], main: str) -> dict[str, float]:
    """Metrics beside the main one: those over all items that are no mean, and one task's means; shares in percent."""
    outcomes = list(outcomes)
    tasks = {o.task for o in outcomes}
    prefix = {task: f"{task} " if len(tasks) > 1 else "" for task in tasks}
    found = {
        prefix.get(c.task, "") + c.metric: c.value * (100 if c.aggregation in _IN_PERCENT else 1)
        for c in evaluation.corpus
        if c.value is not None and c.metric != main
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
