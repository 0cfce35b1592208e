"""`ift-eval validate`."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from harness.commands import options
from harness.commands.flag_sets import with_asking_flags
from harness.commands.showing import DONE
from harness.errors import HarnessError
from harness.judging.named import FORMS_OF_JUDGES
from harness.judging.settings import JudgingSettings
from harness.screen import Screen

if TYPE_CHECKING:
    from finetune.instructions import DataSet
    from harness.judging.estimate import Messages
    from harness.judging.judgments import Wanted
    from harness.store import Run
    from harness.validation.labels import Label
    from harness.validation.results import Validation
    from harness.validation.validate import Settings
    from judges.base import Judge
    from judges.spending import Price

NOT_USABLE = 1


@with_asking_flags
def validate(
    judging: JudgingSettings,
    judge: Annotated[
        str, typer.Option("--judge", metavar="JUDGE", help=FORMS_OF_JUDGES[0].upper() + FORMS_OF_JUDGES[1:])
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="People's scores of judged answers: item_id, checkpoint, score, rater, scale."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Entries with expected answers; default: those that are shipped."),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Entries that probes are made from.")] = 30,
    pass_at: Annotated[
        float | None, typer.Option(help="Score from which on an answer passes; default: the middle of the scale.")
    ] = None,
    seed: options.Seed = 0,
    concurrency: options.Concurrency = 8,
    retry_unscored: options.RetryUnscored = False,
    run_folder: options.RunFolder = options.DEFAULT_RUN,
    fresh: options.Fresh = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    full: options.Full = False,
    config: options.Config = None,
) -> int:
    """May this judge be trusted, and for what? Planted defects, people's labels, and a verdict.

    Exit code 1 if the judge is not usable.
    """
    from harness.judging.every_judge import Judging
    from harness.judging.named import known_form, named_judge
    from harness.pictures.validation import validation_picture
    from harness.store import Run
    from harness.validation.labels import read_labels
    from harness.validation.validate import Settings, probe_entries

    if pass_at is not None and labels is None:
        raise HarnessError("--pass-at is for reading people's scores as pass or fail; give them with --labels FILE")
    screen, kept = Screen(json=json, quiet=quiet), Run(run_folder)
    given, entries = read_labels(labels) if labels else [], probe_entries(data)
    meter = Judging([judge], judging, concurrency).meter_of(judge)
    form = None if fresh else known_form(kept, judge)
    name, asked = named_judge(judge, concurrency=concurrency, settings=judging, form=form, meter=meter, always_ask=True)
    settings = Settings(
        n=n,
        seed=seed,
        empty_is_fault=_empty_is_fault(judging.rubric_name, asked),
        pass_at=pass_at,
        fresh=fresh,
        retry_unscored=retry_unscored,
    )
    announce = partial(_announce, asked, screen, judge=judge, max_tokens=judging.judge_max_tokens, price=meter.price)
    found = asyncio.run(
        _validate(kept, asked, entries, settings, screen, labels=given, name=name, reference=judge, before=announce)
    )
    if meter.cost is not None and meter.calls:
        screen.say(f"{found.judge}: {meter.calls:,} calls cost {meter.cost:,.2f}")
    screen.show(validation_picture(found, full=full))
    screen.print_json(found.model_dump_json(indent=1))
    return NOT_USABLE if found.trust.words in ("not usable", "unfinished") else DONE


async def _validate(
    run: "Run",
    judge: "Judge",
    data: "DataSet",
    settings: "Settings",
    screen: Screen,
    *,
    labels: "Sequence[Label]",
    name: str | None,
    reference: str,
    before: "Callable[[Sequence[Wanted[Any]]], None]",
) -> "Validation":
    """Everything that is asked, in the judge's one event loop.

    Raises:
        HarnessError: As `validate_judge`.
    """
    from harness.judging.named import keep_form
    from harness.validation.validate import validate_judge

    how: dict[str, Any] = {"labels": labels, "name": name, "before": before}
    try:
        for warning in await judge.check():
            screen.warn(warning)
        keep_form(run, reference, judge)
        with screen.progress(f"probing {name or judge.name}", "judgments") as advance:
            return await validate_judge(run, judge, data, settings, progress=advance, **how)
    finally:
        await judge.close()


def _announce(
    asked: "Judge",
    screen: Screen,
    todo: "Sequence[Wanted[Any]]",
    *,
    judge: str,
    max_tokens: int,
    price: "Price | None",
) -> None:
    """What it will take, before the first call; nothing of judges without a model."""
    from harness.judging.estimate import before_lines, counter_for, estimate

    if not asked.form:
        return
    prompts = (cast("Messages", asked.request(one.submission).get("messages", ())) for one in todo)
    for line in before_lines(estimate(prompts, max_tokens=max_tokens, count=counter_for(judge)), asked.name, price):
        screen.say(line)


def _empty_is_fault(rubric: str, judge: "Judge") -> bool:
    """Whether what is asked counts what an answer lacks; judges without a model are asked by no rubric."""
    from judges.rubric import load_rubric

    found = load_rubric(rubric)
    return found.id != judge.rubric or found.empty != "ask"
