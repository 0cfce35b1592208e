"""`ift-eval bench` and `ift-eval tasks`."""

from dataclasses import asdict
from typing import Annotated

import typer

from harness import options
from harness.errors import HarnessError
from harness.screen import Screen
from harness.showing import DONE, json_of, run_suites


def bench(
    tasks: Annotated[str, typer.Argument(metavar="TASK[,TASK]", help="lm-eval task names; see ift-eval tasks.")],
    checkpoints: options.Checkpoints,
    shots: Annotated[int | None, typer.Option(min=0, help="Examples in the prompt; default: the task's own.")] = None,
    local: Annotated[
        list[str] | None, typer.Option(metavar="NAME=DIR", help="Take a task's data from DIR/SPLIT.jsonl.")
    ] = None,
    run_folder: options.RunFolder = options.DEFAULT_RUN,
    limit: options.Limit = None,
    seed: Annotated[int | None, typer.Option(help="Of tasks that sample; default: lm-eval's own.")] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    fresh: options.Fresh = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    full: options.Full = False,
    config: options.Config = None,
) -> int:
    """Run any lm-eval task."""
    from harness.benchmark import BenchmarkSettings
    from harness.checkpoints import resolve
    from harness.suites import task_suites

    suites = task_suites([name.strip() for name in tasks.split(",") if name.strip()], local or [])
    settings = BenchmarkSettings(shots=shots, limit=limit, seed=seed, dtype=dtype, device=device)
    screen = Screen(json=json, quiet=quiet)
    return run_suites(run_folder, resolve(checkpoints), suites, settings, screen, fresh=fresh, full=full)


def tasks(
    pattern: Annotated[str | None, typer.Argument(help="Part of a name, or a glob.")] = None,
    json: options.Json = False,
) -> int:
    """List the benchmarks there are."""
    from benchmarks.catalog import list_tasks

    found = list_tasks(pattern)
    if not found:
        raise HarnessError(f"no task matches {pattern!r}; `ift-eval tasks` lists them all")
    for task in found if not json else []:
        print(f"{task.name:60} {task.kind:6} {task.output_type or ''}".rstrip())
    Screen(json=json).print_json(json_of([asdict(task) for task in found]))
    return DONE
