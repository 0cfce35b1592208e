"""The flags by which a comparison is asked for: one list for all commands that compare."""

from typing import Annotated, Any

import typer

from harness.commands.flag_sets import Command, with_flags
from harness.commands.results_flags import Results, with_results_flags
from harness.comparing.settings import ComparisonSettings

FLAGS: dict[str, Any] = {
    "baseline": Annotated[str | None, typer.Option(help="What the others are compared with; default: the base.")],
    "dataset": Annotated[str | None, typer.Option(help="Name of a data set; default: the newest.")],
    "judges": Annotated[
        list[str] | None, typer.Option("--judge", help="Name of a judge; default: the newest. May be repeated.")
    ],
    "metrics": Annotated[
        list[str] | None,
        typer.Option("--metric", help="Shown where a table has it: acc_norm, mcc, exact. May be repeated."),
    ],
    "by": Annotated[
        str | None, typer.Option(metavar="FIELD", help="Each table by a field of its items: subject, category.")
    ],
    "cluster": Annotated[
        str | None, typer.Option(metavar="FIELD", help="Field that says which items belong together, as a source.")
    ],
    "group": Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=CKPT,CKPT", help="Seeds of a recipe, taken as one. May be repeated."),
    ],
    "results": Results,
    "all_pairs": Annotated[bool, typer.Option("--all-pairs", help="Every checkpoint against every other one too.")],
    "margin": Annotated[
        float | None, typer.Option(min=0.000001, help="Differences within ±M points count as none: same within M.")
    ],
    "allow_missing": Annotated[
        bool, typer.Option("--allow-missing", help="Give verdicts where more than a tenth of the items has no value.")
    ],
    "evaluation": Annotated[list[str] | None, typer.Option("--eval", help="Id of an evaluation to take.")],
}


def with_comparison_flags(command: Command) -> Command:
    """Give a command, which takes `asked: ComparisonSettings` and `fields: ResultFields`, a flag for each of these."""
    return with_results_flags(with_flags(command, "asked", ComparisonSettings, FLAGS))
