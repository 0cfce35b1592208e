"""`ift-eval bench` and `ift-eval tasks`."""

from typing import Annotated, Literal

import typer

from harness.benchmark import BenchmarkSettings
from harness.commands import options
from harness.commands.flag_sets import with_measure_flags
from harness.commands.showing import DONE, READING, json_of, run_suites
from harness.screen import Screen


@with_measure_flags
def bench(
    tasks: Annotated[str, typer.Argument(metavar="TASK[,TASK]", help="lm-eval task names; see ift-eval tasks.")],
    checkpoints: options.Checkpoints,
    measuring: BenchmarkSettings,
    shots: Annotated[int | None, typer.Option(min=0, help="Examples in the prompt; default: the task's own.")] = None,
    local: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="Data of a task, group or hub data set from DIR/SPLIT.jsonl, .parquet."),
    ] = None,
    how: Annotated[
        Literal["loglikelihood", "generate"] | None,
        typer.Option(help="Choices by log-likelihood, or written by the checkpoint; default: what CKPT can."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of tasks that sample; default: lm-eval's own.")] = None,
    run_folder: options.RunFolder = options.DEFAULT_RUN,
    fresh: options.Fresh = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    full: options.Full = False,
    lm_eval_json: options.LmEvalJson = None,
    config: options.Config = None,
) -> int:
    """Run any lm-eval task."""
    from harness.checkpoints import resolve
    from harness.suites import task_suites

    screen = Screen(json=json, quiet=quiet)
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    targets = resolve(checkpoints)
    suites = task_suites(names, local or [], building=lambda: screen.say(READING))
    settings = measuring.model_copy(update={"shots": shots, "seed": seed, "how": how})
    return run_suites(
        run_folder,
        targets,
        suites,
        settings,
        screen,
        fresh=fresh,
        full=full,
        lm_eval_json=lm_eval_json,
    )


def tasks(
    pattern: Annotated[str | None, typer.Argument(help="Part of a name, or a glob.")] = None,
    json: options.Json = False,
) -> int:
    """List the benchmarks there are, and what they need."""
    from harness.pictures.tasks import lines, listed

    screen = Screen(json=json)
    found = listed(pattern, building=lambda: screen.say(READING))
    for line in lines(found) if not json else ():
        print(line)
    screen.say(f"{len(found)} names; columns: name, how it is answered, what it needs")
    screen.print_json(json_of([one.as_json() for one in found]))
    return DONE
