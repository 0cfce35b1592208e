"""The whole validation of one judge: plant, ask, compare with people, decide."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.instructions import DataSet, read_data_set
from harness.comparing.scores import judge_folder
from harness.errors import HarnessError
from harness.judging.judgments import Wanted
from harness.respond import Progress
from harness.store import Run
from harness.validation.kept import FOLDER, keep_people
from harness.validation.labels import Label
from harness.validation.matching import Matched, match
from harness.validation.people import compare_with_people, passing
from harness.validation.planting import plant
from harness.validation.probing import NEVER_ASKED, Planted, flips_of, put, results_of
from harness.validation.results import ProbeResult, Trust, Validation
from harness.validation.verdict import trust

if TYPE_CHECKING:
    from judges.base import Judge


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a judge is validated.

    Attributes:
        n: Entries that probes are made from.
        seed: Of their draw, and of the bootstrap's.
        empty_is_fault: Whether the rubric counts what an answer lacks.
        pass_at: Score from which on an answer passes; None: the middle of the scale.
        fresh: Ask again what is recorded.
        retry_unscored: Ask again what has no score.
    """

    n: int = 30
    seed: int = 0
    empty_is_fault: bool = True
    pass_at: float | None = None
    fresh: bool = False
    retry_unscored: bool = False


def probe_entries(path: Path | None) -> DataSet:
    """The user's entries, else those that `finetune` ships."""
    return read_data_set(path or Path(str(files("finetune"))) / "data" / "instructions.json")


async def validate_judge(
    run: Run,
    judge: "Judge",
    data: DataSet,
    settings: Settings,
    *,
    labels: Sequence[Label] = (),
    name: str | None = None,
    progress: Progress | None = None,
    before: Callable[[Sequence[Wanted[Planted]]], None] = lambda todo: None,
) -> Validation:
    """Put planted probes to a judge, and set its recorded verdicts beside people's labels.

    Args:
        run: Where its judgments are kept, and the verdicts that people's labels are compared with.
        judge: After its `check`.
        data: Entries with expected answers.
        settings: How.
        labels: What people said; without any the probes stand alone.
        name: What the judge is called in place of its own name.
        progress: Told how many judgments there are, of how many.
        before: Told what will be asked.

    Raises:
        HarnessError: If labels or entries do not fit, the judge is gone, or the run cannot be written.
    """
    shown = f"{name or judge.name}+{judge.rubric}"
    matched = _matched(run, judge, shown, labels)  # before anything is paid for
    passing(settings.pass_at, judge.scale)
    planting = plant(judge, data.evaluated, n=settings.n, seed=settings.seed, empty_is_fault=settings.empty_is_fault)
    found = await put(
        judge,
        planting.cases,
        run.records(Planted, FOLDER, judge_folder(shown)),
        progress=progress,
        before=before,
        fresh=settings.fresh,
        retry_unscored=settings.retry_unscored,
    )
    probes = results_of(judge, planting.cases, found)
    flips = flips_of(judge, planting.cases, found) if judge.pairwise else None
    people = compare_with_people(matched, pass_at=settings.pass_at, seed=settings.seed) if matched else None
    if people:
        keep_people(run, shown, people)
    return Validation(
        judge=name or judge.name,
        rubric=judge.rubric,
        judge_fingerprint=judge.fingerprint,
        scale=judge.scale,
        data=data.label,
        entries=len({case.item_id for case in planting.cases}),
        asked=len(found),
        probes=probes,
        left_out=planting.left_out,
        flips=flips,
        people=people,
        trust=_unfinished(probes) or trust(probes, judge.scale, flips, people),
    )


def _unfinished(probes: Sequence[ProbeResult]) -> Trust | None:
    """What to say instead of a verdict where a cap ended it before everything was asked."""
    left = sum(probe.unscored.get(NEVER_ASKED, 0) for probe in probes)
    if not left:
        return None
    why = f"{left} cases are left, since a cap on calls or cost is reached; the same command again goes on there"
    return Trust(words="unfinished", reasons=[why])


def _matched(run: Run, judge: "Judge", shown: str, labels: Sequence[Label]) -> Matched | None:
    if not labels:
        return None
    if judge.pairwise:
        raise HarnessError(
            f"--labels: wanted a judge that scores one answer, as people did; {shown} compares two, "
            f"take another --rubric or leave out the labels"
        )
    return match(run, shown, labels)
