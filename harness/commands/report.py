"""`ift-eval report`: one page that can be sent around, and its Markdown twin."""

from pathlib import Path
from typing import Annotated

import typer

from harness.commands import options
from harness.commands.results_flags import Results, with_results_flags
from harness.commands.showing import DONE, json_of
from harness.errors import HarnessError
from harness.imported.fields import ResultFields
from harness.screen import Screen


def _how_many(text: str) -> int | None:
    """A number of items; None for all."""
    if text.strip().lower() == "all":
        return None
    if not text.strip().isdecimal():
        raise HarnessError(f"--items {text}: wanted a number of items for each table, or all")
    return int(text)


@with_results_flags
def report(
    fields: ResultFields,
    checkpoints: Annotated[
        list[str] | None, typer.Argument(metavar="[CKPT...]", help="All recorded, or these.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write; default: the run's folder.")] = None,
    baseline: Annotated[str | None, typer.Option(help="What the others are compared with; default: the base.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Name of a data set; default: the newest.")] = None,
    judges: Annotated[
        list[str] | None, typer.Option("--judge", help="Name of a judge; default: the newest. May be repeated.")
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", help="Shown where a table has it: acc_norm, mcc, exact. May be repeated."),
    ] = None,
    by: Annotated[
        str | None, typer.Option(metavar="FIELD", help="Each table by a field of its items: subject, category.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="FIELD", help="Field that says which items belong together, as a source.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(metavar="NAME=CKPT,CKPT", help="Seeds of a recipe, taken as one. Repeatable.")
    ] = None,
    results: Results = None,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Every checkpoint against every other one too.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Give verdicts where more than a tenth of the items has no value.")
    ] = False,
    margin: Annotated[
        float | None, typer.Option(min=0.000001, help="Differences within ±M points count as none.")
    ] = None,
    evaluation: Annotated[list[str] | None, typer.Option("--eval", help="Id of an evaluation to take.")] = None,
    items: Annotated[
        str, typer.Option(metavar="N|all", help="Items of each table in the page; those that differ come first.")
    ] = "2000",
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    run_folder: options.RunFolder = options.DEFAULT_RUN,
    json: options.Json = False,
    quiet: options.Quiet = False,
    config: options.Config = None,
) -> int:
    """Everything recorded as one HTML page (report.html) and as Markdown for a model card (report.md)."""
    from harness.compare import compare
    from harness.comparing.terms import DRAWS, Terms
    from harness.imported.families import imported_families
    from harness.reporting.document import document_of
    from harness.reporting.files import write_report
    from harness.store import Run

    kept, most = Run(run_folder), _how_many(items)
    known = kept.read().checkpoints.values()
    document = document_of(
        kept,
        lambda catch: compare(
            kept,
            wanted=[*(checkpoints or [])],
            baseline=baseline,
            datasets={dataset} if dataset else set(),
            judges=[*(judges or [])],
            chosen=[*(evaluation or [])],
            metrics=[*(metrics or [])],
            by=by,
            cluster=cluster,
            groups=[*(group or [])],
            imported=imported_families(results or [], fields, known=known, metrics=metrics or []),
            seen=catch,
            all_pairs=all_pairs,
            terms=Terms(margin=margin, draws=DRAWS, allow_missing=allow_missing),
        ),
        most_items=most,
    )
    page, twin = write_report(document, out or run_folder)
    screen = Screen(json=json, quiet=quiet)
    screen.show(f"{page}\n{twin}")
    screen.print_json(json_of({"html": str(page), "markdown": str(twin)}))
    if open_it:
        _open(page, screen)
    return DONE


def _open(page: Path, screen: Screen) -> None:
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        screen.say(f"no browser found here; open {page} in yours")
