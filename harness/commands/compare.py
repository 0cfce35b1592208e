"""`ift-eval compare`: everything recorded, side by side."""

from collections.abc import Iterator
from math import isnan
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from harness.commands import options
from harness.commands.comparison_flags import with_comparison_flags
from harness.commands.showing import DONE, WITH_FAILURES, show
from harness.comparing.settings import ComparisonSettings
from harness.errors import HarnessError
from harness.findings import Report
from harness.imported.fields import ResultFields
from harness.screen import Screen


@with_comparison_flags
def compare(
    asked: ComparisonSettings,
    fields: ResultFields,
    checkpoints: Annotated[
        list[str] | None, typer.Argument(metavar="[CKPT...]", help="All recorded, or these.")
    ] = None,
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="Exit code 1 if one of those compared is worse than the baseline.")
    ] = False,
    fail_under: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Exit code 1 if one but the baseline is below X in the first table (where less is better: above X).",
        ),
    ] = None,
    run_folder: options.RunFolder = options.DEFAULT_RUN,
    json: options.Json = False,
    quiet: options.Quiet = False,
    full: options.Full = False,
    config: options.Config = None,
) -> int:
    """Everything recorded, side by side: which checkpoint to ship, at what it is better, how sure."""
    from harness.comparing.asked import compare_as_asked
    from harness.comparing.gates import gates
    from harness.comparing.terms import DRAWS
    from harness.store import Run

    if fail_under is not None and isnan(fail_under):
        raise HarnessError("--fail-under nan: wanted a number")
    draws = DRAWS if full or json else 0
    report = compare_as_asked(Run(run_folder), checkpoints or [], asked, fields, draws=draws)
    screen = Screen(json=json, quiet=quiet)
    for name, leaked in report.leaked.items():
        if leaked:
            role = report.headline.role if report.headline else "test"
            screen.warn(f"{leaked} {role} items are among the entries {name} was trained on")
    show(report, screen, full=full, after=[*_next(report)])
    failures = [*gates(report, if_worse=fail_if_worse, under=fail_under)]
    for line in failures:
        screen.warn(line)
    return WITH_FAILURES if failures else DONE


def _next(report: Report) -> Iterator[str]:
    """What a reader would type now."""
    pick = report.pick
    if pick is None:
        return
    where = "" if Path(report.run) == options.DEFAULT_RUN else f" --run {quote(report.run)}"
    other = pick.undecided[-1] if pick.undecided else report.baseline
    pair = [other, pick.name] if other != pick.name else []
    recipes = any(row.summary.seeds for table in report.tables for row in table.rows)
    words = [] if recipes else [f"show {' '.join(map(quote, pair))}".rstrip()]
    words += ["review --n 50"] if report.opinions is None and not recipes else []
    for n, word in enumerate([*words, "report"]):
        yield f" {'     ' if n else 'next:'} ift-eval {word}{where}"
