"""The stages as commands run them: over several checkpoints and data sets, with what the user sees meanwhile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from finetune.errors import FinetuneError
from finetune.instructions import DataSet, complaints, read_data_set
from harness.benchmark import EVERY, BenchmarkSettings, Suite, refuse_unscored, run_benchmark
from harness.checkpoints import Target
from harness.elsewhere.answers import Answers, record_answers
from harness.errors import HarnessError
from harness.pictures.first_prompt import shower
from harness.records import JSON, CheckpointRecord, Evaluation, Response, Role
from harness.respond import PROMPTS_CUT, AnswerSettings, respond
from harness.screen import Screen
from harness.store import Run

SPLITS = "splits"


@dataclass(frozen=True)
class Asked:
    """A data set to evaluate, and what it is for."""

    data: DataSet
    role: Role


@dataclass(frozen=True)
class Answered:
    """The answers of one checkpoint to one data set."""

    checkpoint: CheckpointRecord
    data: DataSet
    evaluation: Evaluation


def data_sets(
    run: Run, targets: Sequence[Target], data: Path | None, *, limit: int | None, validation: bool = True
) -> list[Asked]:
    """What to evaluate: the file given, else the splits that the checkpoints, or the run, remember.

    Args:
        run: The run, which may remember a data set.
        targets: The checkpoints, some of which may remember the splits of their training.
        data: The user's file.
        limit: The first so many items of each.
        validation: Take the validation split too, so that one of several checkpoints can be picked on it.

    Raises:
        HarnessError: If nothing is remembered, or the checkpoints remember different test sets.
        FinetuneError: If a file cannot be read.
    """
    if data is not None:
        return [Asked(read_data_set(data, limit=limit), "test")]
    remembered = _remembered_splits(targets)
    if remembered is None:
        return [Asked(_last_test_set(run, limit), "test")]
    asked = [Asked(read_data_set(remembered / "test.json", limit=limit), "test")]
    if validation and len(targets) > 1:
        asked.append(Asked(read_data_set(remembered / "validation.json", limit=limit), "validation"))
    return asked


def _remembered_splits(targets: Sequence[Target]) -> Path | None:
    folders = {}
    for target in targets:
        if target.training is None or target.folder is None:
            continue
        splits = target.folder.resolve().parent / SPLITS
        if (splits / "test.json").exists():
            folders[read_data_set(splits / "test.json").digest] = splits
    if len(folders) > 1:
        several = " and ".join(str(f / "test.json") for f in folders.values())
        raise HarnessError(f"the checkpoints remember different test sets ({several}); choose one with --data")
    return next(iter(folders.values()), None)


def _last_test_set(run: Run, limit: int | None) -> DataSet:
    """The newest test set that the run has a copy of."""
    for evaluation in reversed(run.read().evaluations):
        path = run.data_file(evaluation.dataset)
        if evaluation.stage != "benchmark" and evaluation.role == "test" and path.exists():
            found = read_data_set(path, limit=limit)
            return DataSet(evaluation.dataset.rpartition("-")[0], found.entries, limit)
    raise HarnessError("wanted a test set: no checkpoint remembers one and the run has none; give it with --data FILE")


def collect(
    run: Run,
    targets: Sequence[Target],
    asked: Sequence[Asked],
    settings: AnswerSettings,
    screen: Screen,
    *,
    fresh: bool = False,
) -> list[Answered]:
    """Have every checkpoint answer every data set; warnings come before any number."""
    for one in asked:
        for line in complaints(one.data.entries):
            screen.say(f"{one.data.name}: {line}", once=True)
    answered = []
    for target in targets:
        if not target.record.visible:
            screen.say(
                f"{target.record.name}: the weights behind an endpoint cannot be seen; --fresh ignores what is recorded"
            )
        if target.remark:
            screen.say(target.remark, once=True)
        first = shower(screen, target.record.name)
        for one in asked:
            with screen.progress(f"{target.record.name} answers {one.data.name}", "answers") as advance:
                evaluation = respond(
                    run,
                    target,
                    one.data,
                    settings,
                    role=one.role,
                    fresh=fresh,
                    progress=advance,
                    first=first,
                    remark=screen.warn,
                )
            answered.append(Answered(run.known(target.record), one.data, evaluation))
            _warn(evaluation, target.record.name, one.data, screen)
    return answered


def _warn(evaluation: Evaluation, name: str, data: DataSet, screen: Screen) -> None:
    if evaluation.leaked:
        n, total = len(evaluation.leaked), len(data.evaluated)
        screen.warn(f"{n} of {total} items of {data.name} are among the entries {name} was trained on")
    for note in evaluation.notes:
        (screen.warn if note.endswith(PROMPTS_CUT) else screen.say)(f"{name}, {data.name}: {note}")


def missing_answers(run: Run, answered: Answered) -> list[str]:
    """Why items have no answer, one reason for each such item."""
    evaluation = answered.evaluation
    there = run.records(Response, "responses", evaluation.dataset, evaluation.checkpoint).read()
    missing = ([there[key] for key in keys if there[key].text is None] for keys in evaluation.records.values())
    return [failed[0].failure or "no answer" for failed in missing if failed]


def take_answers(run: Run, answers: Answers) -> Answered:
    """Answers made elsewhere, as if they had been collected."""
    evaluation = record_answers(run, answers)
    return Answered(run.known(answers.checkpoint), answers.data, evaluation)


def benchmark_all(
    run: Run,
    targets: Sequence[Target],
    suites: Sequence[Suite],
    settings: BenchmarkSettings,
    screen: Screen,
    *,
    fresh: bool = False,
    on_result: Callable[[Target, dict[str, JSON]], None] | None = None,
) -> list[Evaluation]:
    """Run every suite on every checkpoint that has not been run on it yet.

    Args:
        run: Where everything is recorded.
        targets: The checkpoints.
        suites: What they take.
        settings: How.
        screen: Where progress and warnings are shown.
        fresh: Ignore what is recorded.
        on_result: Called with each checkpoint and lm-eval's own result; see `run_benchmark`.

    Raises:
        BenchmarkError: If an endpoint cannot take one of them, before the first is run.
    """
    refuse_unscored(run, targets, suites, settings, fresh=fresh)
    made = []
    for target in targets:
        if target.remark:
            screen.say(target.remark, once=True)
        for suite in suites:
            with screen.progress(f"{target.record.name} takes {suite.name}", "requests") as advance:
                evaluation = run_benchmark(
                    run,
                    target,
                    suite,
                    settings,
                    fresh=fresh,
                    progress=advance,
                    first=shower(screen, target.record.name, "benchmark prompt"),
                    remark=screen.say,
                    on_result=partial(on_result, target) if on_result else None,
                )
            for note in evaluation.notes:
                tell = screen.say if note.startswith(EVERY) else screen.warn
                tell(f"{target.record.name}, {suite.name}: {note}")
            made.append(evaluation)
    return made


def one_target(targets: Sequence[Target], flag: str) -> Target:
    """The only one of the targets.

    Raises:
        FinetuneError: If the reference stood for several, or for an endpoint.
    """
    if len(targets) != 1:
        names = ", ".join(t.record.name for t in targets)
        raise FinetuneError(f"{flag}: wanted one checkpoint, found {len(targets)} ({names}); name one of them")
    if targets[0].folder is None:
        raise FinetuneError(f"{flag}: wanted a model folder or hub name, found the endpoint {targets[0].record.name}")
    return targets[0]
