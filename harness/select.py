"""Which of the recorded evaluations are set side by side, and the value of every item in them."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from statistics import fmean

from harness.checkpoints import parse_reference, resolve
from harness.errors import HarnessError, unknown_name
from harness.records import JSON, CheckpointRecord, Evaluation, Outcome, Role, Verdict
from harness.store import Run, RunFile


@dataclass(frozen=True)
class Scores:
    """One checkpoint on one metric: a value for each scored item, and why the others have none.

    Attributes:
        checkpoint: Whose.
        evaluation: Where they come from.
        values: By item.
        unscored: Items without a value, by reason.
        chance: Mean of 1 / number of choices, where items have choices.
    """

    checkpoint: CheckpointRecord
    evaluation: Evaluation
    values: dict[str, float]
    unscored: Counter[str] = field(default_factory=Counter)
    chance: float | None = None


@dataclass(frozen=True)
class Family:
    """One metric of several checkpoints on one data set: what a table shows.

    Attributes:
        name: "judge" or the task.
        kind: "judge" or "benchmark".
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
        return self.kind == "benchmark" and all(v in (0.0, 100.0) for s in self.scores for v in s.values.values())


def choose_checkpoints(recorded: RunFile, wanted: Sequence[str]) -> list[CheckpointRecord]:
    """The checkpoints to compare, in training order: all, or those whose name, slug or reference is wanted.

    Raises:
        HarnessError: If one is wanted that the run does not know; names the nearest.
    """
    known = list(recorded.checkpoints.values())
    if wanted:
        known = [c for c in known if any(_is_called(c, name) for name in wanted)]
        for name in wanted:
            if not any(_is_called(c, name) for c in known):
                names = {c.name for c in recorded.checkpoints.values()}
                raise unknown_name("checkpoint in this run", name, names)
    return _in_training_order(known)


def _is_called(checkpoint: CheckpointRecord, name: str) -> bool:
    """By name, as tables show it too, or slug; by path, or by a folder that it lies in; by fingerprint."""
    plain = name.rstrip("/")
    called = (checkpoint.name, shown_name(checkpoint), checkpoint.slug, checkpoint.reference.rstrip("/"))
    return plain in (*called, checkpoint.fingerprint) or checkpoint.reference.startswith(f"{plain}/")


def shown_name(checkpoint: CheckpointRecord) -> str:
    """The name with some of the fingerprint, for tables in which two checkpoints share a name."""
    return f"{checkpoint.name}·{checkpoint.fingerprint[:4]}"


def as_recorded(recorded: RunFile, text: str) -> list[str]:
    """A name as the user writes it, as names that the run knows its checkpoints by.

    The same folder may have been called otherwise when it was recorded: from another working directory, through
    a link, under an alias.

    Raises:
        HarnessError: If it is no reference.
    """
    reference = parse_reference(text)
    known = recorded.checkpoints.values()
    for name in (text, reference.text):
        if any(_is_called(c, name) for c in known):
            return [name]
    if reference.scheme != "path" or not Path(reference.target).is_dir():
        return [text]
    there = {c.fingerprint for c in known}
    return [t.record.fingerprint for t in resolve([text]) if t.record.fingerprint in there] or [text]


def _in_training_order(checkpoints: list[CheckpointRecord]) -> list[CheckpointRecord]:
    """Each base before what was trained from it, in step order; otherwise as recorded."""
    bases = {c.base_fingerprint for c in checkpoints}
    place = {c.fingerprint: n for n, c in enumerate(checkpoints)}

    def order(c: CheckpointRecord) -> tuple[int, int, int]:
        family = place.get(c.base_fingerprint or "", place[c.fingerprint])
        return (family, 0 if c.fingerprint in bases else 1, c.step or 0)

    return sorted(checkpoints, key=order)


def families(
    run: Run,
    recorded: RunFile,
    checkpoints: Sequence[CheckpointRecord],
    *,
    datasets: Collection[str] = (),
    judge: str | None = None,
    chosen: Sequence[str] = (),
) -> tuple[list[Family], list[str]]:
    """What can be set side by side, judge families first, and what was left out for newer evaluations.

    Args:
        run: Where the records are.
        recorded: Its `run.json`.
        checkpoints: Which to show, in order.
        datasets: Only data sets whose label begins with one of these; all when empty.
        judge: Only judges whose name begins so.
        chosen: Ids of evaluations to take in place of the newest.

    Raises:
        HarnessError: If the evaluations of one table were made under different settings, or there is none of an id.
    """
    numbers = [e for e in recorded.evaluations if e.stage != "respond"]
    for name in chosen:
        if name not in (known := {e.id for e in numbers}):
            raise unknown_name("evaluation", name, known)
    _refuse_unknown_names(numbers, datasets, judge)
    slugs = {c.slug: c for c in checkpoints}
    stages = {e.stage for e in numbers if e.dataset.startswith(tuple(datasets))}
    groups: dict[Place, list[Evaluation]] = {}
    for evaluation in numbers:
        if evaluation.checkpoint in slugs and _matches(evaluation, datasets, stages, judge):
            place = (evaluation.stage, evaluation.dataset, evaluation.judge or "")
            groups.setdefault(place, []).append(evaluation)
    newest, left_out = _newest_data(groups, chosen)
    ordered = sorted(newest, key=lambda key: (key[0] != "judge", key[1]))
    return [_family(run, groups[key], slugs, chosen) for key in ordered], left_out


def _refuse_unknown_names(numbers: Sequence[Evaluation], datasets: Collection[str], judge: str | None) -> None:
    """Raise for a data set or judge that no evaluation has; where there are none at all, that is what to say."""
    labels = {e.dataset for e in numbers}
    for name in datasets if numbers else ():
        if not any(label.startswith(name) for label in labels):
            raise unknown_name("data set in this run", name, {label.rpartition("-")[0] for label in labels})
    judges = {e.judge for e in numbers if e.judge}
    if judge and numbers and not any(known.startswith(judge) for known in judges):
        raise unknown_name("judge in this run", judge, {known.partition("+")[0] for known in judges})


def _matches(evaluation: Evaluation, datasets: Collection[str], stages: Collection[str], judge: str | None) -> bool:
    """`stages`: those of which a data set is named; of the others everything is shown."""
    named = evaluation.dataset.startswith(tuple(datasets))
    by_data = named or evaluation.stage not in stages or evaluation.role == "validation"
    by_judge = judge is None or evaluation.judge is None or evaluation.judge.startswith(judge)
    return by_data and by_judge


# Metrics that are no shares of anything, whatever their values happen to be.
_UNBOUNDED = re.compile(r"perplexity|bits|brier|loglikelihood|likelihood_diff")

Place = tuple[str, str, str]  # stage, data set, judge


def _newest_data(groups: dict[Place, list[Evaluation]], chosen: Collection[str]) -> tuple[list[Place], list[str]]:
    """One data set and judge for each stage and role; a benchmark's tasks each stand for themselves.

    The one that holds a chosen evaluation, else the newest; for validation the newest by the judge of the test
    items, since a pick by another judge says little about them.
    """

    def rank(key: Place) -> tuple[bool, str]:
        return any(e.id in chosen for e in groups[key]), max(e.created for e in groups[key])

    by_rank = sorted(groups, key=rank)
    tested = [key for key in by_rank if key[0] == "judge" and groups[key][-1].role == "test"]
    judge = tested[-1][2] if tested else None
    by_rank.sort(key=lambda key: key[2] == judge)
    newest: dict[tuple[str, str], Place] = {}
    left_out = []
    for key in by_rank:
        stage, data, _ = key
        place = (stage, groups[key][-1].role) if stage == "judge" else (stage, data.rpartition("-")[0])
        if place in newest:
            left_out.append(_describe(newest[place]))
        newest[place] = key
    return list(newest.values()), left_out


def _describe(key: Place) -> str:
    _, data, judge = key
    return f"{data} by {judge}" if judge else data


def _family(
    run: Run, group: Sequence[Evaluation], slugs: dict[str, CheckpointRecord], chosen: Collection[str]
) -> Family:
    held: dict[str, Evaluation] = {}
    for evaluation in group:  # oldest first
        if evaluation.checkpoint not in held or held[evaluation.checkpoint].id not in chosen:
            held[evaluation.checkpoint] = evaluation
    evaluations = [held[slug] for slug in slugs if slug in held]
    _refuse_mixed(evaluations, group, slugs)
    if evaluations[0].stage == "judge":
        return _judge_family(run, evaluations, slugs)
    return _benchmark_family(run, evaluations, slugs)


# What may differ between evaluations in one table: a limit (paired on shared items), how many samples.
_MAY_DIFFER = ("limit", "samples", "style", "own_style")


def _refuse_mixed(
    evaluations: Sequence[Evaluation], group: Sequence[Evaluation], slugs: dict[str, CheckpointRecord]
) -> None:
    """Raise when settings differ that change what is measured, and name the evaluations that there are instead."""
    for one, other in combinations(evaluations, 2):
        field = _differing(one.settings, other.settings)
        if field is None:
            continue
        both = (slugs[one.checkpoint].name, slugs[other.checkpoint].name)
        older = [e for e in group if e not in evaluations and e.checkpoint in (one.checkpoint, other.checkpoint)]
        ways = [f"--eval {e.id} ({slugs[e.checkpoint].name}, {field} {e.settings.get(field)})" for e in older]
        raise HarnessError(
            f"{both[0]} and {both[1]} were evaluated on {one.dataset} with different {field} "
            f"({one.settings.get(field)} and {other.settings.get(field)}); evaluate both alike, "
            + (f"or take an older evaluation: {' or '.join(ways)}" if ways else "or name the checkpoints to compare")
        )


def _differing(one: Mapping[str, JSON], other: Mapping[str, JSON]) -> str | None:
    """The first setting that differs and may not; a checkpoint's own style is no difference."""
    fields = sorted({*one, *other} - {*_MAY_DIFFER})
    if one.get("answers") != other.get("answers"):  # of answers made elsewhere nobody knows the settings
        fields = ["judge_fingerprint"]
    forced = {s.get("style") for s in (one, other) if not s.get("own_style") and "answers" not in s}
    differing = [f for f in fields if one.get(f) != other.get(f)] + ["style"] * (len(forced) > 1)
    return next(iter(differing), None)


def _judge_family(run: Run, evaluations: Sequence[Evaluation], slugs: dict[str, CheckpointRecord]) -> Family:
    first = evaluations[0]
    scores, scale = [], (0.0, 100.0)
    for evaluation in evaluations:
        assert evaluation.judge is not None
        file = run.records(
            Verdict, "verdicts", evaluation.dataset, judge_folder(evaluation.judge), evaluation.checkpoint
        )
        verdicts = file.read()
        values, unscored = _item_values(evaluation, verdicts)
        scale = next((v.scale for v in verdicts.values()), scale)
        scores.append(Scores(slugs[evaluation.checkpoint], evaluation, values, unscored))
    return Family(f"judge {first.judge}", "judge", first.dataset, first.role, "score", scale, True, scores)


def judge_folder(judge: str) -> str:
    """A judge's name as a folder: model names hold "/" and ":"."""
    return "".join(c if c.isalnum() or c in "._+-" else "-" for c in judge)


def _item_values(evaluation: Evaluation, verdicts: dict[str, Verdict]) -> tuple[dict[str, float], Counter[str]]:
    """The mean over an item's samples, and why items have none."""
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


def _benchmark_family(run: Run, evaluations: Sequence[Evaluation], slugs: dict[str, CheckpointRecord]) -> Family:
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
        unscored = Counter({"no outcome": len(evaluation.records) - len(values)})
        scores.append(Scores(slugs[evaluation.checkpoint], evaluation, values, +unscored, _chance(found.values())))
    within_one = not _UNBOUNDED.search(metric) and all(0 <= v <= 1 for s in scores for v in s.values.values())
    if within_one:  # shares are shown in percent, as leaderboards do
        scores = [_times_100(s) for s in scores]
    scale = (0.0, 100.0) if within_one else None
    return Family(task, "benchmark", first.dataset, first.role, metric, scale, higher, scores)


def _main_metric(outcomes: Iterable[Outcome]) -> str:
    """Accuracy where there is one, else the first metric the task has."""
    names = list(next((o.metrics for o in outcomes if o.metrics), {"": 0.0}))
    return "acc" if "acc" in names else names[0]


def _chance(outcomes: Iterable[Outcome]) -> float | None:
    shares = [1 / len(o.choices) for o in outcomes if o.choices]
    return fmean(shares) if shares else None


def _times_100(scores: Scores) -> Scores:
    chance = None if scores.chance is None else 100 * scores.chance
    values = {item: 100 * value for item, value in scores.values.items()}
    return Scores(scores.checkpoint, scores.evaluation, values, scores.unscored, chance)
