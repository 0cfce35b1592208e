"""`ift-eval bench` and `ift-eval tasks`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.commands import options
from harness.commands.showing import DONE, json_of, run_suites
from harness.screen import Screen


def bench(
    tasks: Annotated[str, typer.Argument(metavar="TASK[,TASK]", help="lm-eval task names; see ift-eval tasks.")],
    checkpoints: options.Checkpoints,
    shots: Annotated[int | None, typer.Option(min=0, help="Examples in the prompt; default: the task's own.")] = None,
    local: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="Data of a task, group or hub data set from DIR/SPLIT.jsonl, .parquet."),
    ] = None,
    how: Annotated[
        Literal["loglikelihood", "generate"] | None,
        typer.Option(help="Choices by log-likelihood, or written by the checkpoint; default: what CKPT can."),
    ] = None,
    chat: options.Chat = False,
    run_folder: options.RunFolder = options.DEFAULT_RUN,
    limit: options.Limit = None,
    seed: Annotated[int | None, typer.Option(help="Of tasks that sample; default: lm-eval's own.")] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    memory: options.Memory = None,
    batch_size: options.BatchSize = 64,
    concurrency: options.Concurrency = 8,
    fresh: options.Fresh = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    full: options.Full = False,
    lm_eval_json: Annotated[
        Path | None, typer.Option(metavar="FILE.json|DIR", help="Also write what lm_eval --output_path would.")
    ] = None,
    config: options.Config = None,
) -> int:
    """Run any lm-eval task."""
    from harness.benchmark import BenchmarkSettings
    from harness.checkpoints import resolve
    from harness.suites import task_suites

    suites = task_suites([name.strip() for name in tasks.split(",") if name.strip()], local or [])
    settings = BenchmarkSettings(
        shots=shots,
        limit=limit,
        seed=seed,
        how=how,
        chat=chat,
        dtype=dtype,
        device=device,
        memory=memory,
        batch_size=batch_size,
        concurrency=concurrency,
    )
    screen = Screen(json=json, quiet=quiet)
    return run_suites(
        run_folder,
        resolve(checkpoints),
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
    screen.say("reading lm-eval's index of tasks ...")
    found = listed(pattern)
    for line in lines(found) if not json else ():
        print(line)
    screen.say(f"{len(found)} names; columns: name, how it is answered, what it needs")
    screen.print_json(json_of([one.as_json() for one in found]))
    return DONE
