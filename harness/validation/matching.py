"""Labels beside the judge's verdicts of the same answers, all on one scale from 0 to 1."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness.comparing.scores import judge_family
from harness.errors import HarnessError, unknown_name
from harness.records import CheckpointRecord, Evaluation
from harness.store import Run, RunFile
from harness.validation.labels import Label, Scale

OTHER_DATA = "of another data set"
_LABEL = re.compile(r".+-[0-9a-f]{8}")


class Answer(NamedTuple):
    """Whose answer to which item: ids may be the same in several data sets."""

    dataset: str
    slug: str
    item: str


@dataclass(frozen=True)
class Rated:
    """One answer that the judge and people scored; scores from 0 to 1.

    Attributes:
        item_id: Of the entry.
        checkpoint: Name of who answered.
        judge: The judge's score.
        people: Each person's.
        dataset: Label of the item's data set.
    """

    item_id: str
    checkpoint: str
    judge: float
    people: Mapping[str, float]
    dataset: str = ""


@dataclass(frozen=True)
class Matched:
    """All answers that both scored.

    Attributes:
        rated: These.
        scale: The judge's.
        scales: The labels'.
        whole: Whether all labels are whole numbers on their own scale.
        labels: Labels in the file.
        missing: Labels without a verdict to compare, by reason.
    """

    rated: Sequence[Rated]
    scale: Scale
    scales: Sequence[Scale]
    whole: bool
    labels: int
    missing: Mapping[str, int]


def match(run: Run, judge: str, labels: Sequence[Label]) -> Matched:
    """Pair labels with the newest verdicts of a judge in a run.

    Labels that say their data set are of its items only; the others of the data set that was judged last.

    Args:
        run: Where verdicts are recorded.
        judge: Judge and rubric, as in `Evaluation.judge`.
        labels: At least one.

    Raises:
        HarnessError: If checkpoints or items are not in the run, somebody labelled an answer twice, no label has a
            verdict, or labels that do not say their scale are on another one than the judge.
    """
    recorded = run.read()
    evaluations = [e for e in recorded.evaluations if e.judge == judge and e.stage == "judge"]
    if not evaluations:
        raise _not_judged(run.folder, judge, recorded, len(labels))
    here, others = _of_this_run(labels, recorded, run.folder)
    slugs = _slugs(recorded, here, {e.checkpoint for e in evaluations})
    _refuse_unknown_items(recorded, here, run.folder)
    by_answer = _by_answer(here, slugs, _Datasets(recorded, evaluations))
    verdicts, scale = _verdicts(run, evaluations, recorded.checkpoints)
    _refuse_other_scale(here, scale)
    names = _names(recorded.checkpoints, {answer.slug for answer in by_answer})
    rated = [
        Rated(answer.item, names[answer.slug], _unit(verdicts[answer], scale), _people(said, scale), answer.dataset)
        for answer, said in by_answer.items()
        if answer in verdicts
    ]
    judged = {Answer(e.dataset, e.checkpoint, item) for e in evaluations for item in e.records}
    missing = Counter({OTHER_DATA: others} if others else {})
    for answer, said in by_answer.items():
        if answer not in verdicts:
            missing["unscored" if answer in judged else "not judged yet"] += len(said)
    if not rated:
        raise _not_judged(run.folder, judge, recorded, len(here))
    scales = sorted({label.scale or scale for label in here})
    whole = all(float(label.score - (label.scale or scale)[0]).is_integer() for label in here)
    return Matched(rated, scale, scales, whole, len(labels), dict(missing))


class _Datasets:
    """Which data set a label's item is of."""

    def __init__(self, recorded: RunFile, evaluations: Sequence[Evaluation]) -> None:
        self._known = _datasets(recorded)
        self._newest = {(e.checkpoint, item): e.dataset for e in evaluations for item in e.records}  # oldest first

    def of(self, label: Label, slug: str) -> str:
        """Its own, by label or by name; else the one judged last; "" where none was."""
        if label.dataset in self._known:
            return label.dataset
        named = [known for known in self._known if known.rpartition("-")[0] == label.dataset]
        return named[0] if len(named) == 1 else self._newest.get((slug, label.item_id), "")


def _datasets(recorded: RunFile) -> set[str]:
    return {e.dataset for e in recorded.evaluations if e.stage != "benchmark"}


def _of_this_run(labels: Sequence[Label], recorded: RunFile, folder: Path) -> tuple[list[Label], int]:
    """Labels but for those of data sets that the run does not know; and how many those are.

    What does not look like a data set's label, such as a column of a file made elsewhere, says nothing.

    Raises:
        HarnessError: If all labels are of other data sets.
    """
    known = _datasets(recorded)
    here = [one for one in labels if one.dataset in known or not _LABEL.fullmatch(one.dataset)]
    if not here:
        theirs = ", ".join(sorted({one.dataset for one in labels}))
        raise HarnessError(
            f"all {len(labels)} labels are of {theirs}, but {folder} has answers to {', '.join(sorted(known))}; "
            f"name the run they were made in: --run"
        )
    return here, len(labels) - len(here)


def _not_judged(folder: Path, judge: str, recorded: RunFile, n: int) -> HarnessError:
    others = sorted({e.judge for e in recorded.evaluations if e.judge and e.judge != judge})
    there = f" (judged there: {', '.join(others)})" if others else ""
    return HarnessError(
        f"0 of {n} labels have a verdict of {judge} in {folder}{there}; "
        f"judge first: ift-eval judge CKPT... --judge J --run {folder}"
    )


def _slugs(recorded: RunFile, labels: Sequence[Label], judged: set[str]) -> dict[str, str]:
    """Slugs of the checkpoints that labels name."""
    return {name: _slug(name, recorded, judged) for name in dict.fromkeys(label.checkpoint for label in labels)}


def _slug(name: str, recorded: RunFile, judged: set[str]) -> str:
    known = recorded.checkpoints
    found = [slug for slug, c in known.items() if name in (slug, c.fingerprint)]
    found = found or [slug for slug, c in known.items() if name == c.name]
    if not found:
        raise unknown_name("checkpoint in the labels", name, {c.name for c in known.values()})
    if len(found) > 1:
        found = [slug for slug in found if slug in judged] or found
    if len(found) > 1:
        raise HarnessError(f"labels name the checkpoint {name}, which is several here: write {' or '.join(found)}")
    return found[0]


def _names(checkpoints: Mapping[str, CheckpointRecord], slugs: set[str]) -> dict[str, str]:
    """What tables call checkpoints; their slugs where two have the same name."""
    of_name = Counter(checkpoints[slug].name for slug in slugs)
    return {slug: name if of_name[name := checkpoints[slug].name] == 1 else slug for slug in slugs}


def _refuse_unknown_items(recorded: RunFile, labels: Sequence[Label], folder: Path) -> None:
    known = {item for e in recorded.evaluations if e.stage != "benchmark" for item in e.records}
    strange = [label for label in labels if label.item_id not in known]
    if strange:
        raise HarnessError(
            f"{len(strange)} of {len(labels)} labels are of items that {folder} has no answer to, such as "
            f"{strange[0].item_id!r}; it has items such as {next(iter(known), None)!r}"
        )


def _by_answer(
    labels: Sequence[Label], slugs: Mapping[str, str], datasets: _Datasets
) -> dict[Answer, dict[str, Label]]:
    """Labels by the answer they are of, each by its rater."""
    found: dict[Answer, dict[str, Label]] = {}
    for label in labels:
        slug = slugs[label.checkpoint]
        said = found.setdefault(Answer(datasets.of(label, slug), slug, label.item_id), {})
        if label.rater in said:
            who = f"the rater {label.rater}" if label.rater else "somebody without a name (field rater)"
            raise HarnessError(
                f"{label.place}: {who} labelled item {label.item_id} of {label.checkpoint} twice; keep one of them"
            )
        said[label.rater] = label
    return found


def _verdicts(
    run: Run, evaluations: Sequence[Evaluation], checkpoints: dict[str, CheckpointRecord]
) -> tuple[dict[Answer, float], Scale]:
    """The newest score of every answer, and the judge's scale."""
    values: dict[Answer, float] = {}
    scale = (0.0, 100.0)
    for evaluation in evaluations:  # oldest first
        family = judge_family(run, [evaluation], checkpoints)
        if family.scores[0].values:
            scale = family.scale or scale
        values |= {
            Answer(evaluation.dataset, evaluation.checkpoint, item): value
            for item, value in family.scores[0].values.items()
        }
    return values, scale


def _refuse_other_scale(labels: Sequence[Label], scale: Scale) -> None:
    """Refuse labels that do not say their scale and are, or may well be, on another one than the judge.

    A label outside of the judge's scale is certainly on another one. Where none lies in its upper half, either
    everything is bad or 1 to 5 was meant on a scale to 100: one word of the user tells.
    """
    silent = [label for label in labels if label.scale is None]
    if not silent:
        return
    on = f"{scale[0]:g} to {scale[1]:g}"
    say = f"say the labels' own in the field scale, such as 1-5 (or {scale[0]:g}-{scale[1]:g})"
    for label in silent:
        if not scale[0] <= label.score <= scale[1]:
            raise HarnessError(f"{label.place}: the score {label.score:g} is outside of the judge's scale, {on}; {say}")
    highest = max(label.score for label in silent)
    if highest <= sum(scale) / 2:
        raise HarnessError(f"--labels: none is above {highest:g}, but the judge's scale is {on}: if on another, {say}")


def _unit(score: float, scale: Scale) -> float:
    return (score - scale[0]) / (scale[1] - scale[0])


def _people(said: Mapping[str, Label], scale: Scale) -> dict[str, float]:
    return {rater: _unit(label.score, label.scale or scale) for rater, label in said.items()}
