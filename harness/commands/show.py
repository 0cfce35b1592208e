"""`ift-eval show`: the items behind the numbers."""

from typing import Annotated

import typer

from harness.commands import options
from harness.commands.showing import DONE
from harness.errors import HarnessError
from harness.screen import Screen

FEW = 20  # items that are shown when nothing is said


def show(
    checkpoints: Annotated[
        list[str] | None, typer.Argument(metavar="[CKPT...]", help="By name; default: the base and the pick.")
    ] = None,
    regressions: Annotated[
        bool, typer.Option("--regressions", help="Items on which the last one named is worse than the first.")
    ] = False,
    improvements: Annotated[bool, typer.Option("--improvements", help="Items on which it is better.")] = False,
    disagreements: Annotated[
        bool, typer.Option("--disagreements", help="Items on which judgments of the same differ: orders, repeats.")
    ] = False,
    entry: Annotated[list[str] | None, typer.Option(metavar="ID", help="An item, by its id or how it begins.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set or benchmark; default: what was judged last.")] = None,
    judge: Annotated[str | None, typer.Option(help="Name of a judge; default: the newest.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help=f"Items at most; default: {FEW} (of --json: all).")] = None,
    pager: Annotated[bool, typer.Option(help="Page through long output.")] = True,
    run_folder: options.RunFolder = options.DEFAULT_RUN,
    json: options.Json = False,
    quiet: options.Quiet = False,
    config: options.Config = None,
) -> int:
    """Answers side by side, with the expected one, the scores and the judge's reasons; the farthest apart first."""
    from harness.items import Wanted, items_of
    from harness.pictures.items import items_picture
    from harness.store import Run

    orders = {"regressions": regressions, "improvements": improvements, "disagreements": disagreements}
    named = [name for name, given in orders.items() if given]
    if len(named) > 1:
        raise HarnessError(f"--{named[0]} and --{named[1]}: wanted one of them, found both")
    found = items_of(
        Run(run_folder),
        Wanted(
            checkpoints=[*(checkpoints or [])],
            dataset=dataset,
            judge=judge,
            order=named[0] if named else "apart",  # type: ignore[arg-type]
            entries=[*(entry or [])],
            limit=limit or (None if json or entry else FEW),
        ),
    )
    screen = Screen(json=json, quiet=quiet)
    if not found.items:
        screen.say(f"no {named[0] if named else 'items'} among {found.total} items")
    screen.page(items_picture(found), paged=pager)
    screen.print_json(found.model_dump_json(indent=1))
    return DONE
