"""`ift-eval overlap`: what of the test is in the training data."""

import json as to_json
from typing import Annotated

import typer

from harness.commands import options
from harness.commands.showing import DONE
from harness.errors import HarnessError
from harness.screen import Screen


def overlap(
    checkpoints: Annotated[
        list[str] | None, typer.Argument(metavar="[CKPT...]", help="Whose scores to show; default: all recorded.")
    ] = None,
    train: Annotated[
        list[str] | None,
        typer.Option(
            "--train",
            metavar="FILE",
            help="Training data: what --data of finetune reads, or plain text; may be repeated.",
        ),
    ] = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Remove what the run keeps of --train FILE, or of all files, instead.")
    ] = False,
    dataset: Annotated[str | None, typer.Option(help="One data set or benchmark; default: all recorded.")] = None,
    n: Annotated[int, typer.Option("--n", help="Words in a row that count as the same wording.")] = 8,
    threshold: Annotated[
        float, typer.Option(help="Share of a question's words in such wordings that makes it near.")
    ] = 0.8,
    run_folder: options.RunFolder = options.DEFAULT_RUN,
    json: options.Json = False,
    quiet: options.Quiet = False,
    full: options.Full = False,
    config: options.Config = None,
) -> int:
    """Which test and benchmark items occur in training data, whole or nearly, and each score with and without them.

    What is found is kept in the run: compare and report show it too.
    """
    from harness.overlap.kept import forget as forget_searches
    from harness.overlap.searching import overlaps_in
    from harness.pictures.overlap import overlap_picture
    from harness.store import Run

    screen = Screen(json=json, quiet=quiet)
    if forget:
        removed = forget_searches(Run(run_folder), train or [])
        screen.show(f"{removed} searches forgotten" if removed != 1 else "1 search forgotten")
        screen.print_json(to_json.dumps({"forgotten": removed}))
        return DONE
    if not train:
        raise HarnessError("wanted training data to look through, found none: --train FILE")
    with screen.progress("looking through the training data", "entries") as progress:
        found = overlaps_in(
            Run(run_folder),
            train,
            wanted=[*(checkpoints or [])],
            dataset=dataset,
            n=n,
            threshold=threshold,
            progress=progress,
        )
    screen.show(overlap_picture(found, full=full))
    # Not pydantic's own JSON, which has no room for half characters of ugly data.
    screen.print_json(to_json.dumps([one.model_dump() for one in found], ensure_ascii=False, indent=1))
    return DONE
