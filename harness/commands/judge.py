"""`ift-eval judge`: answers, scored or compared by judges."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands import options
from harness.commands.flag_sets import with_answer_flags, with_field_flags, with_judging_flags
from harness.commands.showing import DONE, report_of, say_hidden, show
from harness.elsewhere.fields import AnswerFields
from harness.errors import HarnessError
from harness.judging.settings import JudgingSettings
from harness.respond import AnswerSettings
from harness.screen import Screen

if TYPE_CHECKING:
    from harness.judging.every_judge import Judging
    from harness.stages import Answered
    from harness.store import Run

WITH_FAILURES = 1


@with_field_flags
@with_judging_flags
@with_answer_flags
def judge(
    answers: AnswerSettings,
    judging: JudgingSettings,
    fields: AnswerFields,
    checkpoints: Annotated[list[str] | None, typer.Argument(metavar="[CKPT...]", help="As for respond.")] = None,
    judges: options.Judges = None,
    data: options.Data = None,
    responses: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Answers made elsewhere (JSON, JSONL, CSV): model_response, or output."),
    ] = None,
    validation: options.Validation = True,
    dry_run: options.DryRun = False,
    retry_unscored: options.RetryUnscored = False,
    run_folder: options.RunFolder = options.DEFAULT_RUN,
    limit: options.Limit = None,
    fresh: options.Fresh = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    full: options.Full = False,
    config: options.Config = None,
) -> int:
    """Collect what answers are missing, have judges score or compare them, print the table."""
    from harness.judging.every_judge import Judging
    from harness.store import Run

    screen, kept = Screen(json=json, quiet=quiet), Run(run_folder)
    if not checkpoints and not responses:
        raise HarnessError("wanted checkpoints to judge, or --responses FILE; found neither")
    by = Judging(judges or ["reference"], judging, answers.concurrency, fresh=fresh, retry_unscored=retry_unscored)
    by.refuse_wrong() if dry_run else by.refuse_unusable(kept, screen)  # before time is spent on answers
    if dry_run:
        with TemporaryDirectory() as scratch:
            run, there = _recorded(kept, checkpoints or [], data, limit, screen, Path(scratch), validation=validation)
            by.dry_run(run, _made_elsewhere(run, responses or [], data, limit, fields, by, screen) + there, screen)
        return DONE
    answered = _made_elsewhere(kept, responses or [], data, limit, fields, by, screen)
    answered += _collected(kept, checkpoints or [], data, limit, answers, by, screen, validation=validation)
    _warn_of_several_sets(answered, screen)
    made = by.judge(kept, answered, screen)
    slugs = {e.checkpoint for e in made} | {e.against for e in made if e.against}
    report = report_of(kept, slugs, {e.dataset for e in made}, judges=[e.judge for e in made if e.judge])
    show(report, screen, full=full)
    return WITH_FAILURES if any(row.summary.n_unscored for t in report.tables for row in t.rows) else DONE


def _made_elsewhere(
    kept: "Run",
    files: Sequence[Path],
    data: Path | None,
    limit: int | None,
    fields: AnswerFields,
    by: "Judging",
    screen: Screen,
) -> "list[Answered]":
    from finetune.instructions import read_data_set
    from harness.elsewhere.answers import read_answers
    from harness.stages import take_answers

    entries = read_data_set(data, limit=limit) if data and files else None
    answered = []
    for path in files:
        for one in read_answers(path, data=entries, limit=limit, fields=fields):
            by.refuse_unfit(one.data)
            if one.missing:
                total = len(one.data.evaluated)
                screen.warn(f"{one.checkpoint.name}: {one.missing} of {total} items have no answer in {path}")
            answered.append(take_answers(kept, one))
    return answered


def _collected(
    kept: "Run",
    checkpoints: Sequence[str],
    data: Path | None,
    limit: int | None,
    answers: AnswerSettings,
    by: "Judging",
    screen: Screen,
    *,
    validation: bool,
) -> "list[Answered]":
    from harness.checkpoints import resolve
    from harness.stages import collect, data_sets

    if not checkpoints:
        return []
    targets = resolve(checkpoints)
    say_hidden(targets, screen)
    asked = data_sets(kept, targets, data, limit=limit, validation=validation)
    for one in asked:
        by.refuse_unfit(one.data)
    return collect(kept, targets, asked, answers, screen, fresh=by.fresh)


def _recorded(
    kept: "Run",
    checkpoints: Sequence[str],
    data: Path | None,
    limit: int | None,
    screen: Screen,
    scratch: Path,
    *,
    validation: bool,
) -> "tuple[Run, list[Answered]]":
    """The newest answers that are there, and their run: a dry run asks for none. Where there are none, stand-ins."""
    from harness.checkpoints import resolve
    from harness.judging.stand_ins import stand_ins
    from harness.stages import Answered, data_sets

    if not checkpoints:
        return kept, []
    targets = resolve(checkpoints)
    asked = data_sets(kept, targets, data, limit=limit, validation=validation)
    evaluations = [e for e in kept.read().evaluations if e.stage == "respond"]
    found = []
    for one in asked:
        for target in targets:
            record = kept.known(target.record)
            place = (record.slug, one.data.label)
            newest = [e for e in evaluations if (e.checkpoint, e.dataset) == place]
            found += [Answered(record, one.data, newest[-1])] if newest else []
    if not found:
        screen.warn("nothing is answered yet: prompts are shown, and their tokens counted, without the answers")
        return stand_ins(scratch, targets, asked)
    if missing := len(targets) * len(asked) - len(found):
        screen.warn(
            f"{missing} of {len(targets) * len(asked)} answers to a data set are not there yet, and not counted"
        )
    return kept, found


def _warn_of_several_sets(answered: "Sequence[Answered]", screen: Screen) -> None:
    tested = {one.data.label for one in answered if one.evaluation.role == "test"}
    if len(tested) > 1:
        screen.warn(
            f"these are answers to {len(tested)} different sets of items, of which one is shown; "
            f"with --data FILE all are set side by side on it"
        )
