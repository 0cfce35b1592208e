"""`ift-eval report`: one page that can be sent around, and its Markdown twin."""

from pathlib import Path
from typing import Annotated

import typer

from harness.commands import options
from harness.commands.comparison_flags import with_comparison_flags
from harness.commands.showing import DONE, json_of
from harness.comparing.settings import ComparisonSettings
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


def _nowhere(folder: Path, asked: ComparisonSettings) -> str:
    """That there is no run to report on, or none to put a report of other results into."""
    if asked.results:
        return f"wanted a folder for the report, found no run in {folder}; name one with --out"
    return f"wanted a run with results in {folder}, found no run.json; name another with --run"


@with_comparison_flags
def report(
    asked: ComparisonSettings,
    fields: ResultFields,
    checkpoints: Annotated[
        list[str] | None, typer.Argument(metavar="[CKPT...]", help="All recorded, or these.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write; default: the run's folder.")] = None,
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
    from harness.comparing.asked import compare_as_asked
    from harness.comparing.terms import DRAWS
    from harness.reporting.document import document_of
    from harness.reporting.files import write_report
    from harness.store import Run

    kept, most = Run(run_folder), _how_many(items)
    if out is None and not (run_folder / "run.json").exists():
        raise HarnessError(_nowhere(run_folder, asked))
    document = document_of(
        kept,
        lambda catch: compare_as_asked(kept, checkpoints or [], asked, fields, draws=DRAWS, seen=catch),
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
