"""MMLU by its parts: all questions, the mean of the subjects, the four groups, every subject."""

import math
from collections.abc import Callable, Sequence

from benchmarks.presets import MMLU_GROUPS, MMLU_SHOTS, MMLU_SUBJECTS
from harness.comparing.contests import Contests
from harness.comparing.parts import Names, adjusted_parts, compared, part_of, rows_for, split
from harness.comparing.scores import Family, Scores
from harness.findings import Breakdown, Part, Row
from harness.records import Comparison, Summary
from harness.stats.intervals import Floats, constant_interval
from harness.stats.paired import detectable, mcnemar_p
from harness.stats.strata import StratifiedMean, drawn_mean, stratified_mean

MEAN = "mean of subjects"
GROUPS = ("stem", "humanities", "social_sciences", "other")  # in the order in which papers have them
PREFIX = "mmlu_"  # of the tasks, in lm-eval and here
SUITES = ("mmlu", "mmlu_generated")
NAMED = 6  # so many subjects are named in a note

_GROUP_OF = {subject: group for group, subjects in MMLU_GROUPS.items() for subject in subjects}

MeanOf = Callable[[Sequence[Floats]], StratifiedMean]


def breakdown(contests: Contests, baseline: Scores) -> Breakdown | None:
    """A benchmark by its parts; None where it is not MMLU.

    Args:
        contests: Of the benchmark.
        baseline: Of the family: what to compare with.
    """
    family, names = contests.family, contests.names
    if family.kind != "benchmark" or family.name not in SUITES:
        return None
    everything = Part(name="all", kind="all", rows=rows_for(contests, baseline))
    means = []
    if not any(scores.seeds for scores in family.scores):  # of whose seeds a mean of subjects would know nothing
        means = [
            Part(name=MEAN, kind="mean", rows=_mean_rows(contests, baseline, everything.rows, stratified_mean)),
            Part(name=MEAN, kind="drawn", rows=_mean_rows(contests, baseline, everything.rows, drawn_mean)),
        ]
    groups = split(family, lambda item: _GROUP_OF.get(subject_of(item)), GROUPS)
    subjects = split(family, subject_of)
    return Breakdown(
        name=family.name,
        dataset=family.dataset,
        baseline=names[baseline.checkpoint.slug],
        parts=[
            everything,
            *means,
            *adjusted_parts([part_of(name, "group", own, baseline, names) for name, own in groups.items()], family),
            *adjusted_parts([part_of(name, "subject", own, baseline, names) for name, own in subjects.items()], family),
        ],
        unlike_published=unlike_published(family, names),
    )


def subject_of(item: str) -> str:
    """The subject of an item, by the task in its name."""
    return item.partition("/")[0].removeprefix(PREFIX)


def _mean_rows(contests: Contests, baseline: Scores, everything: Sequence[Row], mean_of: MeanOf) -> list[Row]:
    """The mean of the subjects, from what is known of all questions."""
    family, rows = contests.family, []
    plain = contests.against(baseline, family.scores)
    for scores, row, made in zip(family.scores, everything, plain, strict=True):
        compared_with = (
            None if scores is baseline or made is None else _mean_comparison(scores, baseline, family, made, mean_of)
        )
        rows.append(Row(summary=_mean_summary(row.summary, scores, family, mean_of), comparison=compared_with))
    return compared(rows, family, [row.comparison for row in rows])


def _mean_summary(summary: Summary, scores: Scores, family: Family, mean_of: MeanOf) -> Summary:
    """The mean of the subjects."""
    if not scores.values:
        return summary
    mean = mean_of(family.matrix.strata(family.matrix.column(scores)))
    interval = mean.interval()
    lowest, highest = family.scale or (-math.inf, math.inf)
    if mean.se == 0 and family.scale:
        interval = constant_interval(mean.estimate, max(1, int(mean.n)), family.scale)
    ends = {"low": max(interval.low, lowest), "high": min(interval.high, highest)}
    return summary.model_copy(update={"estimate": mean.estimate, "bounds": None, **ends})


def _mean_comparison(
    scores: Scores, baseline: Scores, family: Family, plain: Comparison, mean_of: MeanOf
) -> Comparison:
    """The difference of the means of subjects, paired item by item within each subject."""
    matrix = family.matrix
    mean = mean_of(matrix.strata(matrix.column(scores) - matrix.column(baseline)))
    interval = mean.interval()
    if mean.se == 0 and plain.same < plain.n and family.scale:  # alike in every subject, of which others need not be
        width = family.scale[1] - family.scale[0]
        interval = constant_interval(mean.estimate, max(1, int(mean.n)), (-width, width))
    return plain.model_copy(
        update={
            "difference": mean.estimate,
            "low": interval.low,
            "high": interval.high,
            "p": mcnemar_p(plain.better, plain.worse) if math.isnan(mean.p) else mean.p,
            "detectable": detectable(mean.se, mean.df),
            "clustered": None,
            "bootstrap": None,
            "sd": None,
        }
    )


def unlike_published(family: Family, names: Names) -> list[str]:
    """What was done otherwise than for the MMLU numbers that papers give: 5 shots, all questions, log-likelihoods."""
    settings = [scores.evaluation.settings for scores in family.scores]
    limits = {s["limit"] for s in settings if s.get("limit") is not None}
    shots = {s.get("shots") for s in settings} - {MMLU_SHOTS}
    lines = [f"limit: the first {limit} of each subject" for limit in sorted(limits)]
    lines += [f"shots: {'the task files own' if n is None else n}, published with {MMLU_SHOTS}" for n in shots]
    lines += _of_subjects(family)
    lines += ["generated: the choice was written and read, not compared by log-likelihood"] * family.name.endswith(
        "_generated"
    )
    lines += ["chat: prompts in the checkpoint's chat template"] * any(s.get("chat") for s in settings)
    return lines + [
        f"{names[scores.checkpoint.slug]}: {note}" for scores in family.scores for note in scores.evaluation.notes
    ]


def _of_subjects(family: Family) -> list[str]:
    there = {subject_of(item) for scores in family.scores for item in scores.evaluation.records}
    missing = [subject for subject in MMLU_SUBJECTS if subject not in there]
    others = sorted(there - set(MMLU_SUBJECTS))
    lines = [f"subjects: {', '.join(others[:NAMED])}{' ...' * (len(others) > NAMED)} not in MMLU"] if others else []
    if not missing:
        return lines
    present = [subject for subject in MMLU_SUBJECTS if subject in there]
    count = f"subjects: {len(present)} of {len(MMLU_SUBJECTS)}"
    if len(missing) <= len(present):
        return [f"{count}, missing {', '.join(missing)}", *lines]
    return [f"{count}{': ' * bool(present)}{', '.join(present)}", *lines]
