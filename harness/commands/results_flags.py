"""The flags by which results made elsewhere are brought into a comparison."""

from typing import Annotated, Any

import typer

from harness.commands.flag_sets import Command, with_flags
from harness.imported.fields import ResultFields

Results = Annotated[
    list[str] | None,
    typer.Option(
        "--results",
        metavar="[NAME=]PATH",
        help="Results of single items made elsewhere: lm-eval's --log_samples files or folder, Inspect's logs, or "
        "JSON, JSONL, CSV or Parquet with ids and scores; may be repeated.",
    ),
]
FIELDS: dict[str, Any] = {
    "id": Annotated[str | None, typer.Option("--field-id", metavar="FIELD", help="Field of --results with the ids.")],
    "score": Annotated[
        str | None,
        typer.Option("--field-score", metavar="FIELD", help="Field of --results with the scores; a metric or scorer."),
    ],
    "checkpoint": Annotated[
        str | None,
        typer.Option("--field-checkpoint", metavar="FIELD", help="Field of --results that says whose they are."),
    ],
    "cluster": Annotated[
        str | None,
        typer.Option(
            "--field-cluster", metavar="FIELD", help="Field of --results that says what items belong together."
        ),
    ],
    "lower_is_better": Annotated[
        bool, typer.Option("--lower-is-better", help="Of --results: the less the better, as with a loss.")
    ],
}


def with_results_flags(command: Command) -> Command:
    """Give a command, which takes `fields: ResultFields`, a flag for every one of them."""
    return with_flags(command, "fields", ResultFields, FIELDS, prefix="result_")
