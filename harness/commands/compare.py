"""`ift-eval compare`: everything recorded, side by side."""

from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from harness.commands import options
from harness.commands.results_flags import Results, with_results_flags
from harness.commands.showing import DONE, WITH_FAILURES, show
from harness.findings import Report
from harness.imported.fields import ResultFields
from harness.screen import Screen


@with_results_flags
def compare(
    fields: ResultFields,
    checkpoints: Annotated[
        list[str] | None, typer.Argument(metavar="[CKPT...]", help="All recorded, or these.")
    ] = None,
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
    margin: Annotated[
        float | None, typer.Option(min=0.000001, help="Differences within ±M points count as none: same within M.")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Give verdicts where more than a tenth of the items has no value.")
    ] = False,
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="Exit code 1 if a checkpoint is worse than the baseline anywhere.")
    ] = False,
    fail_under: Annotated[
        float | None, typer.Option(metavar="X", help="Exit code 1 if the first table has a checkpoint below X.")
    ] = None,
    evaluation: Annotated[list[str] | None, typer.Option("--eval", help="Id of an evaluation to take.")] = None,
    run_folder: options.RunFolder = options.DEFAULT_RUN,
    json: options.Json = False,
    quiet: options.Quiet = False,
    full: options.Full = False,
    config: options.Config = None,
) -> int:
    """Everything recorded, side by side: which checkpoint to ship, at what it is better, how sure."""
    from harness.compare import compare as compare_recorded
    from harness.comparing.gates import gates
    from harness.comparing.terms import DRAWS, Terms
    from harness.imported.families import imported_families
    from harness.store import Run

    kept, terms = Run(run_folder), Terms(margin, DRAWS if full or json else 0, allow_missing)
    known = kept.read().checkpoints.values()
    report = compare_recorded(
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
        all_pairs=all_pairs,
        terms=terms,
    )
    screen = Screen(json=json, quiet=quiet)
    for name, leaked in report.leaked.items():
        if leaked:
            screen.warn(f"{leaked} test items are among the entries {name} was trained on")
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
