"""`ift-eval plan`: how many items it takes."""

from typing import Annotated

import typer

from harness.commands import options
from harness.commands.showing import DONE
from harness.errors import HarnessError
from harness.screen import Screen


def plan(
    checkpoints: Annotated[
        list[str] | None, typer.Argument(metavar="[CKPT...]", help="All recorded, or these.")
    ] = None,
    mde: Annotated[float, typer.Option(min=0.000001, metavar="M", help="Difference to be seen, in points.")] = 3.0,
    power: Annotated[float, typer.Option(min=0.5, max=0.999, help="In this share of cases.")] = 0.8,
    baseline: Annotated[str | None, typer.Option(help="What the others are compared with; default: the base.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Name of a data set; default: the newest.")] = None,
    judges: Annotated[
        list[str] | None, typer.Option("--judge", help="Name of a judge; default: the newest. May be repeated.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Plan for this metric, with M in its unit; default: what is in points.")
    ] = None,
    run_folder: options.RunFolder = options.DEFAULT_RUN,
    json: options.Json = False,
    quiet: options.Quiet = False,
    config: options.Config = None,
) -> int:
    """How many items it takes to see a difference, from how much the recorded ones vary."""
    from pydantic import TypeAdapter

    from harness.compare import compare
    from harness.comparing.planning import Plan, not_in_points, plans
    from harness.pictures.plan import plan_picture
    from harness.store import Run

    report = compare(
        Run(run_folder),
        wanted=[*(checkpoints or [])],
        baseline=baseline,
        datasets={dataset} if dataset else set(),
        judges=[*(judges or [])],
        metrics=[metric] if metric else [],
        look=False,
    )
    found = plans(report, mde, power=power, metric=metric)
    if not found:
        raise HarnessError(
            f"{run_folder}: wanted two checkpoints on the same items, and differences that vary, to plan from"
        )
    screen = Screen(json=json, quiet=quiet)
    screen.show(plan_picture(found, left_out=[] if metric else not_in_points(report)))
    screen.print_json(TypeAdapter(list[Plan]).dump_json(found, indent=1).decode())
    return DONE
