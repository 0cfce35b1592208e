"""What a comparison found, ready to be shown: tables, the pick, losses, leakage."""

from pydantic import BaseModel

from harness.records import Comparison, Role, Summary


class Row(BaseModel):
    """One checkpoint in a table, and its comparison with the baseline where it has one."""

    summary: Summary
    comparison: Comparison | None = None


class Table(BaseModel):
    """One metric of several checkpoints.

    Attributes:
        name: "judge reference+f1-v1", or the task.
        kind: "judge" or "benchmark".
        dataset: Label of the data set.
        role: What the data set is for.
        metric: Name of the metric.
        baseline: Name of the checkpoint that the rows are compared with.
        rows: In training order.
        at_chance: Whether no checkpoint can be told from guessing; None where chance is unknown.
    """

    name: str
    kind: str
    dataset: str
    role: Role
    metric: str
    baseline: str
    rows: list[Row]
    at_chance: bool | None = None


class Pick(BaseModel):
    """Which checkpoint to take.

    Attributes:
        name: Its name.
        picked_on: The kind of items it was picked on; "test" means that pick and score share them.
        against_base: Its comparison with the baseline on the test items; None when it is the baseline.
        undecided: Checkpoints that cannot be told apart from it on the test items.
    """

    name: str
    picked_on: Role
    against_base: Comparison | None
    undecided: list[str]


class Losses(BaseModel):
    """Validation losses: at each checkpoint shown, and where the curve turned.

    Attributes:
        at: Loss of each checkpoint by name, in nats a token; None where unknown.
        turned: Step after which it rose; None when it was still falling at the end.
        steps: Last step of the curve.
    """

    at: dict[str, float | None]
    turned: int | None
    steps: int


class Report(BaseModel):
    """Everything the picture shows.

    Attributes:
        run: Folder of the run.
        baseline: Name of the checkpoint the others are compared with.
        tables: Judge first, then benchmarks.
        pick: None when nothing was judged, or there is only one checkpoint.
        losses: None when no checkpoint knows its validation loss.
        leaked: Items of the test set that checkpoints were trained on, by name; only of those that remember it.
        looks: How often the test set's numbers have been shown, this time included.
        notes: What the reader should know of the answers, by name.
        left_out: Older evaluations that are not shown.
    """

    run: str
    baseline: str
    tables: list[Table]
    pick: Pick | None = None
    losses: Losses | None = None
    leaked: dict[str, int] = {}
    looks: int = 0
    notes: dict[str, list[str]] = {}
    left_out: list[str] = []

    @property
    def headline(self) -> Table | None:
        """The table of the judge on the test items."""
        return next((t for t in self.tables if t.kind == "judge" and t.role == "test"), None)
