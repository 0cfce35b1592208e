"""Labels beside the judge's verdicts of the same answers, all on one scale from 0 to 1."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.comparing.scores import judge_family
from harness.errors import HarnessError, unknown_name
from harness.records import CheckpointRecord, Evaluation
from harness.store import Run, RunFile
from harness.validation.labels import Label, Scale


@dataclass(frozen=True)
class Rated:
    """One answer that the judge and people scored; scores from 0 to 1.

    Attributes:
        item_id: Of the entry.
        checkpoint: Name of who answered.
        judge: The judge's score.
        people: Each person's.
    """

    item_id: str
    checkpoint: str
    judge: float
    people: Mapping[str, float]


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
    slugs = _slugs(recorded, labels, {e.checkpoint for e in evaluations})
    _refuse_unknown_items(recorded, labels, run.folder)
    by_answer = _by_answer(labels, slugs)
    verdicts, scale = _verdicts(run, evaluations, recorded.checkpoints)
    _refuse_other_scale(labels, scale)
    names = _names(recorded.checkpoints, {slug for slug, _ in by_answer})
    rated = [
        Rated(item, names[slug], _unit(verdicts[slug, item], scale), _people(said, scale))
        for (slug, item), said in by_answer.items()
        if verdicts.get((slug, item)) is not None
    ]
    judged = {(e.checkpoint, item) for e in evaluations for item in e.records}
    missing = Counter(
        "unscored" if answer in judged else "not judged yet"
        for answer, said in by_answer.items()
        for _ in said
        if verdicts.get(answer) is None
    )
    if not rated:
        raise _not_judged(run.folder, judge, recorded, len(labels))
    scales = sorted({label.scale or scale for label in labels})
    whole = all(float(label.score - (label.scale or scale)[0]).is_integer() for label in labels)
    return Matched(rated, scale, scales, whole, len(labels), dict(missing))


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


def _by_answer(labels: Sequence[Label], slugs: Mapping[str, str]) -> dict[tuple[str, str], dict[str, Label]]:
    """Labels by checkpoint and item, each by its rater."""
    found: dict[tuple[str, str], dict[str, Label]] = {}
    for label in labels:
        said = found.setdefault((slugs[label.checkpoint], label.item_id), {})
        if label.rater in said:
            who = f"the rater {label.rater}" if label.rater else "somebody without a name (field rater)"
            raise HarnessError(
                f"{label.place}: {who} labelled item {label.item_id} of {label.checkpoint} twice; keep one of them"
            )
        said[label.rater] = label
    return found


def _verdicts(
    run: Run, evaluations: Sequence[Evaluation], checkpoints: dict[str, CheckpointRecord]
) -> tuple[dict[tuple[str, str], float], Scale]:
    """The newest score of every answer, by checkpoint and item, and the judge's scale."""
    values: dict[tuple[str, str], float] = {}
    scale = (0.0, 100.0)
    for evaluation in evaluations:  # oldest first
        family = judge_family(run, [evaluation], checkpoints)
        if family.scores[0].values:
            scale = family.scale or scale
        values |= {(evaluation.checkpoint, item): value for item, value in family.scores[0].values.items()}
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
